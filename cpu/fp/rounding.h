// Rounding an exact or sticky intermediate result into F16, F32 or F64: the last step of every operation. Internal to
// cpu/fp.
//
// An intermediate significand is a u64 whose leading one is bit 62; what lies below the format's last fraction bit
// decides the rounding, and bit 0 is sticky (one if anything that was shifted out was not zero).
#pragma once

#include "cpu/fp/formats.h"

#include <bit>

namespace calque::cpu::fp {

inline constexpr int kLeadingBit = 62;

// value >> count, with bit 0 of the result set if a one was lost. count >= 0; any larger count than the width leaves
// the sticky bit.
inline u64 shift_right_sticky(u64 value, int count) {
    if (count > 63) return value != 0;
    return (value >> count) | ((value & ((u64{1} << count) - 1)) != 0);
}

inline u128 shift_right_sticky(u128 value, int count) {
    if (count > 127) return value != 0;
    return (value >> count) | ((value & ((u128{1} << count) - 1)) != 0);
}

inline int leading_zeros(u64 value) { return std::countl_zero(value); }
inline int leading_zeros(u128 value) {
    const u64 high = static_cast<u64>(value >> 64);
    return high ? std::countl_zero(high) : 64 + std::countl_zero(static_cast<u64>(value));
}

// What to add to a significand so that cutting off its lowest `shift` bits rounds it. shift is 1..63.
inline u64 rounding_increment(u64 significand, int shift, bool sign, Rounding rounding) {
    const u64 mask = (u64{1} << shift) - 1;
    if (rounding == Rounding::NearestEven) [[likely]]
        return (mask >> 1) + ((significand >> shift) & 1);
    if (rounding == Rounding::TowardZero) return 0;
    return (rounding == Rounding::Up) == sign ? 0 : mask;
}

template <class Float> constexpr Float pack(bool sign, int exponent, u64 fraction) {
    using F = Format<Float>;
    using Bits = typename F::Bits;
    return Float{static_cast<Bits>((sign ? F::kSign : Bits{0})
                                   | static_cast<Bits>((static_cast<u64>(exponent) << F::kFractionBits) + fraction))};
}

template <class Float> constexpr Float zero(bool sign) { return pack<Float>(sign, 0, 0); }
template <class Float> constexpr Float infinity(bool sign) { return pack<Float>(sign, Format<Float>::kMaxExponent, 0); }

// The cases of round_and_pack that leave the range of normal numbers.
template <class Float> Float round_and_pack_edge(bool sign, int exponent, u64 significand, Status& status);
extern template F16 round_and_pack_edge<F16>(bool, int, u64, Status&);
extern template F32 round_and_pack_edge<F32>(bool, int, u64, Status&);
extern template F64 round_and_pack_edge<F64>(bool, int, u64, Status&);

// `exponent` is the biased exponent of the result when its significand has its leading one in bit 62; it may lie
// outside the format.
template <class Float> inline Float round_and_pack(bool sign, int exponent, u64 significand, Status& status) {
    using F = Format<Float>;
    constexpr int kShift = kLeadingBit - F::kFractionBits;
    constexpr u64 kMask = (u64{1} << kShift) - 1;
    if (static_cast<unsigned>(exponent - 1) >= static_cast<unsigned>(F::kMaxExponent - 2)) [[unlikely]]
        return round_and_pack_edge<Float>(sign, exponent, significand, status);
    status.raise((significand & kMask) ? kPrecision : 0);
    const u64 rounded = (significand + rounding_increment(significand, kShift, sign, status.rounding)) >> kShift;
    return pack<Float>(sign, exponent - 1,
                       rounded); // the leading one of `rounded` adds 1 to the exponent, its carry one more
}

// The same for a significand, not zero, whose leading one is at or below bit 62, or in bit 63 with bit 0 still sticky.
template <class Float> inline Float normalize_round_and_pack(bool sign, int exponent, u64 significand, Status& status) {
    const int shift = leading_zeros(significand) - 1;
    if (shift < 0) return round_and_pack<Float>(sign, exponent + 1, (significand >> 1) | (significand & 1), status);
    return round_and_pack<Float>(sign, exponent - shift, significand << shift, status);
}

} // namespace calque::cpu::fp
