// Ids for pairs of a linear and a host page, so that translated code proves with one compare that a linear page still
// leads to the memory that the code was made from.
#pragma once

#include "mmu/tlb_layout.h"

#include <mutex>
#include <optional>
#include <unordered_map>

namespace calque::mmu {

// Any thread.
class ExecuteIds {
  public:
    // Whether a page at this address has a place of its own: programs of 64 bits above 4 GiB, where libraries are and
    // each process has them elsewhere. So far from the ends of the lower half that the sum of an address there and 32
    // bits stays in it. All others are in their place: their ids' shift is 0.
    static constexpr bool movable(u64 linear) { return linear >= u64{1} << 32 && linear < 0x7FFF'0000'0000; }
    // Places are at `places` and above, below `places_end`: all that code reaches by 32 bits from there has a number of
    // 32 bits, with its sign.
    static constexpr u64 places = u64{1} << 30, places_end = u64{1} << 31;

    // The pair's id. An id never stands for another pair; a pair may get a new id when there were very many, or none
    // (0) when all are used up. `shift`: that of pages nearby, where known; a page that is new gets it too, so that
    // what belongs together moves together.
    ExecuteId id_of(LinearAddress page, const u8* host_page, std::optional<u64> shift = {});

  private:
    static constexpr std::size_t most_pairs = 1 << 18; // Some 16 MiB.
    struct Pair {
        u64 place;
        u64 host;
        bool operator==(const Pair&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Pair& pair) const {
            return (pair.place ^ (pair.host << 20 | pair.host >> 44)) * 0x9E37'79B9'7F4A'7C15 >> 20;
        }
    };

    std::mutex mutex_;
    std::unordered_map<Pair, u32, Hash> numbers_;
    std::unordered_map<u64, u64> places_; // Of movable pages, by host page.
    u32 last_ = 0;
};

} // namespace calque::mmu
