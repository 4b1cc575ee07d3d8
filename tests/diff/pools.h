// Operand values, weighted to the edges of each type, in pools that are cheap to take slices of.
#pragma once

#include "tests/diff/random.h"

#include <array>
#include <span>

namespace calque::diff {

u64 integer_value(Random& random);
u32 single_value(Random& random);
u64 double_value(Random& random);
// Significand, and sign with exponent.
struct Extended {
    u64 significand;
    u16 sign_exponent;
};
Extended extended_value(Random& random);

class Pools {
  public:
    enum Kind : u8 { any, integers, lanes, singles, doubles, extendeds, text, kinds };
    static constexpr std::size_t words = 2048; // 64-bit words in a pool.

    explicit Pools(u64 seed, u64 epoch);
    // `count` words at a random place of a pool.
    const u64* slice(Kind kind, std::size_t count, Random& random) const {
        return &pools_[kind][random.below((words - count) / 2) * 2];
    }

  private:
    std::array<std::array<u64, words>, kinds> pools_;
};

} // namespace calque::diff
