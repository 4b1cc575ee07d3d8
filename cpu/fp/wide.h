// Numbers with 128-bit significands, in which the transcendental instructions are computed: their results are good to
// about 120 bits and are then rounded once to 64. Internal to cpu/fp.
#pragma once

#include "cpu/fp/f80_internal.h"

#include <array>
#include <span>

namespace calque::cpu::fp {

// (a * b) / 2^128, up to two units too small.
constexpr u128 multiply_high(u128 a, u128 b) {
    const u64 a1 = static_cast<u64>(a >> 64), a0 = static_cast<u64>(a);
    const u64 b1 = static_cast<u64>(b >> 64), b0 = static_cast<u64>(b);
    const u128 cross1 = u128{a1} * b0, cross2 = u128{a0} * b1;
    const u128 middle = ((u128{a0} * b0) >> 64) + static_cast<u64>(cross1) + static_cast<u64>(cross2);
    return u128{a1} * b1 + (cross1 >> 64) + (cross2 >> 64) + (middle >> 64);
}

// floor(numerator * 2^128 / divisor) for numerator < divisor, divisor >= 2^127: long division with two 64-bit digits.
constexpr u128 divide_fraction(u128 numerator, u128 divisor) {
    const u64 high = static_cast<u64>(divisor >> 64), low = static_cast<u64>(divisor);
    u128 quotient = 0;
    u128 rest = numerator;
    for (int digit = 0; digit < 2; ++digit) {
        u128 guess = rest / high;
        u128 left = rest % high;
        while ((guess >> 64) != 0 || guess * low > (left << 64)) {
            --guess;
            left += high;
            if ((left >> 64) != 0) break;
        }
        rest = (left << 64) - guess * low;
        quotient = (quotient << 64) | guess;
    }
    return quotient;
}

// The positive number significand * 2^(exponent - 127), the leading one in bit 127.
struct Wide {
    int exponent;
    u128 significand;
};

constexpr Wide normalized(int exponent, u128 significand) {
    const u64 high = static_cast<u64>(significand >> 64);
    const int shift = high ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<u64>(significand));
    return {exponent - shift, significand << shift};
}

// |a| of a finite operand that is not zero.
inline Wide to_wide(F80 a) {
    const Unpacked80 u = unpack80(a);
    return {u.exponent - F80::kBias, u128{u.significand} << 64};
}

constexpr Wide multiply(Wide a, Wide b) {
    return normalized(a.exponent + b.exponent + 1, multiply_high(a.significand, b.significand));
}

constexpr Wide divide(Wide a, Wide b) {
    return normalized(a.exponent - b.exponent, divide_fraction(a.significand >> 1, b.significand));
}

// a in units of 2^-bits, cut off. The integer part must fit.
constexpr u128 to_fixed(Wide a, int bits) {
    const int shift = 127 - bits - a.exponent;
    return shift > 127 ? 0 : a.significand >> shift;
}

// a^2 in units of 2^-128, for a < 1.
constexpr u128 square_fraction(Wide a) { return to_fixed(multiply(a, a), 128); }

// sum of coefficients[k] * z^k, or of (-1)^k times that, for z < 1 in units of 2^-128. The coefficients and the sum are
// in units of 2^-127; the sum must lie between 0 and 2.
template <bool kAlternating> constexpr u128 evaluate_series(u128 z, std::span<const u128> coefficients) {
    u128 sum = 0;
    for (auto c = coefficients.rbegin(); c != coefficients.rend(); ++c)
        sum = kAlternating ? *c - multiply_high(z, sum) : *c + multiply_high(z, sum);
    return sum;
}

inline constexpr u128 kOne127 = u128{1} << 127;

// A result that is known not to be exact: the sticky bit is set.
inline F80 round_inexact(bool sign, Wide a, Status& status) {
    return round_and_pack_extended(sign, a.exponent + F80::kBias, static_cast<u64>(a.significand >> 64),
                                   static_cast<u64>(a.significand) | 1, status);
}

} // namespace calque::cpu::fp
