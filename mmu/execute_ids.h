// Numbers for pairs of a linear and a host page, so that translated code proves with one compare that a linear page
// still leads to the memory that the code was made from.
#pragma once

#include "base/types.h"

#include <mutex>
#include <unordered_map>

namespace calque::mmu {

// Any thread.
class ExecuteIds {
  public:
    // The pair's id. An id never stands for another pair; a pair may get a new id when there were very many, or none
    // (0) when all are used up.
    u32 id_of(LinearAddress page, const u8* host_page);

  private:
    static constexpr std::size_t most_pairs = 1 << 18; // Some 16 MiB.
    struct Pair {
        u64 linear;
        u64 host;
        bool operator==(const Pair&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Pair& pair) const {
            return (pair.linear ^ (pair.host << 20 | pair.host >> 44)) * 0x9E37'79B9'7F4A'7C15 >> 20;
        }
    };

    std::mutex mutex_;
    std::unordered_map<Pair, u32, Hash> ids_;
    u32 last_ = 0;
};

} // namespace calque::mmu
