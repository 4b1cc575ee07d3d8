// Memory for translated code: one reserved piece, seen twice, so that no page is writable and executable at one
// address.
#pragma once

#include "base/types.h"

#include <cstddef>
#include <span>

namespace calque::jit {

class CodeArena {
  public:
    explicit CodeArena(std::size_t bytes); // At most 2 GiB, so that direct branches reach. Committed as used.
    ~CodeArena();
    CodeArena(const CodeArena&) = delete;
    CodeArena& operator=(const CodeArena&) = delete;

    // Where the next piece will run.
    const std::byte* next() const { return executable_ + used_; }
    bool has_room(std::size_t bytes) const { return used_ + bytes + alignment <= size_; }
    // Copies code that was made for next() there, and returns where it runs.
    const std::byte* append(std::span<const u8> code);
    // Forgets everything from `mark` (an address that next() gave) on.
    void cut(const std::byte* mark) { used_ = static_cast<std::size_t>(mark - executable_); }
    bool contains(const void* address) const {
        return static_cast<std::size_t>(static_cast<const std::byte*>(address) - executable_) < used_;
    }
    // Writes a 32-bit value over code that runs at `at`.
    void patch(const std::byte* at, u32 value);
    std::size_t used() const { return used_; }

  private:
    static constexpr std::size_t alignment = 16;

    std::byte* writable_ = nullptr;
    std::byte* executable_ = nullptr;
    std::size_t size_, used_ = 0;
};

} // namespace calque::jit
