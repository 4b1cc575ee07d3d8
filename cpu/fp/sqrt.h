// Integer square roots by Newton's iteration for the reciprocal root. Internal to cpu/fp.
#pragma once

#include "cpu/fp/rounding.h"

#include <array>

namespace calque::cpu::fp {

inline u64 multiply_high(u64 a, u64 b) { return static_cast<u64>((u128{a} * b) >> 64); }

namespace detail {

constexpr u64 integer_sqrt(u64 value) {
    u64 root = 0;
    for (u64 bit = u64{1} << 31; bit != 0; bit >>= 1)
        if ((root | bit) * (root | bit) <= value) root |= bit;
    return root;
}

// 1/sqrt(x) * 2^14 at the middle of each interval [i, i+1) / 512 of x, for x from 1/4 to 1.
inline constexpr auto kReciprocalRootSeeds = [] {
    std::array<u16, 384> seeds{};
    for (u64 i = 128; i < 512; ++i)
        seeds[i - 128] = static_cast<u16>(integer_sqrt((u64{1} << 38) / (2 * i + 1)));
    return seeds;
}();

// 2^62 / sqrt(radicand / 2^64) for a radicand of at least 2^62. Each iteration doubles the 9 good bits of the seed, up
// to about 57.
template <int kIterations> inline u64 reciprocal_root(u64 radicand) {
    u64 y = static_cast<u64>(kReciprocalRootSeeds[(radicand >> 55) - 128]) << 48;
    for (int i = 0; i < kIterations; ++i) {
        const u64 near_one = multiply_high(radicand, multiply_high(y, y)); // radicand * y^2, scaled by 2^60
        y = multiply_high(y, (u64{3} << 60) - near_one) << 3;
    }
    return y;
}

} // namespace detail

// sqrt(radicand * 2^62) for a radicand in [2^62, 2^64): leading one in bit 62, exact in the bits that rounding to Float
// looks at, with the rest sticky.
template <class Float> inline u64 sqrt_significand(u64 radicand) {
    constexpr int kIterations = Format<Float>::kFractionBits <= 23 ? 2 : 3;
    constexpr int kUnitBits = kLeadingBit - Format<Float>::kFractionBits - 2; // two bits below the last fraction bit
    constexpr u64 kUnit = u64{1} << kUnitBits;
    u64 root = (multiply_high(radicand, detail::reciprocal_root<kIterations>(radicand)) << 1) & ~(kUnit - 1);
    const u128 square = u128{radicand} << 62;
    if (u128{root} * root > square)
        root -= kUnit; // the estimate is off by less than one unit
    else if (u128{root + kUnit} * (root + kUnit) <= square)
        root += kUnit;
    return root | (u128{root} * root != square);
}

struct SquareRoot {
    u64 root;
    u128 remainder; // radicand - root^2, at most 2 * root
};

// The integer square root of a radicand of at least 2^126.
inline SquareRoot integer_sqrt(u128 radicand) {
    const u64 high = static_cast<u64>(radicand >> 64);
    // sqrt(high * 2^64) = high * 2^62 / sqrt(high / 2^64) / 2^62; kept a little small, so that the correction is
    // positive and small.
    u64 estimate = multiply_high(high, detail::reciprocal_root<3>(high));
    estimate = estimate >= (u64{1} << 62) ? ~u64{0} - 0x3ff : (estimate << 2) - 0x400;
    const u128 left = radicand - u128{estimate} * estimate;
    // One Newton step: (root - estimate) * (root + estimate) = left. It overshoots by less than one.
    const u64 step = static_cast<u64>(left / (u128{estimate} << 1));
    u128 root = u128{estimate} + step;
    while (root > ~u64{0} || root * root > radicand)
        --root;
    return {static_cast<u64>(root), radicand - root * root};
}

} // namespace calque::cpu::fp
