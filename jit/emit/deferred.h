// Pieces of emission that are put off: small function objects, without an allocation for each.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace calque::jit {

class Deferred {
  public:
    // `piece` is called as piece(), once.
    template <class F> void add(F piece) {
        static_assert(sizeof(F) <= room && alignof(F) <= alignof(std::max_align_t));
        static_assert(std::is_trivially_destructible_v<F>);
        if (count_ == chunks_.size() * chunk_pieces) chunks_.push_back(std::unique_ptr<Chunk>(new Chunk));
        Piece& added = at(count_++);
        new (added.object) F(std::move(piece));
        added.call = [](void* object) { (*std::launder(static_cast<F*>(object)))(); };
    }
    // In the order in which they were added. They may add more.
    void run() {
        for (std::size_t n = 0; n < count_; ++n)
            at(n).call(at(n).object);
        count_ = 0;
    }

  private:
    static constexpr std::size_t room = 136, chunk_pieces = 32;
    struct Piece { // Stays where it is: it is not known how to move one.
        alignas(std::max_align_t) std::byte object[room];
        void (*call)(void*);
    };
    using Chunk = std::array<Piece, chunk_pieces>;
    Piece& at(std::size_t n) { return (*chunks_[n / chunk_pieces])[n % chunk_pieces]; }

    std::vector<std::unique_ptr<Chunk>> chunks_;
    std::size_t count_ = 0;
};

} // namespace calque::jit
