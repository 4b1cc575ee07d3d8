// A small, fast generator whose every stream is named by a seed and a number: any case can be repeated alone.
#pragma once

#include "base/types.h"

namespace calque::diff {

class Random {
  public:
    Random(u64 seed, u64 stream) : state_(seed * 0xD1342543DE82EF95 + stream * 0xAF251AF3B0F025B5) { next(); }

    // SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    u64 next() {
        u64 z = state_ += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
    u64 below(u64 bound) { return static_cast<u64>((static_cast<unsigned __int128>(next()) * bound) >> 64); }
    // True once in `n` times.
    bool one_in(u64 n) { return below(n) == 0; }
    u8 byte() { return static_cast<u8>(next() >> 56); }

  private:
    u64 state_;
};

} // namespace calque::diff
