// Taking F80 operands apart and rounding F80 results. Internal to cpu/fp.
#pragma once

#include "cpu/fp/f80.h"
#include "cpu/fp/rounding.h"

namespace calque::cpu::fp {

// A finite operand that is not zero: value = significand * 2^(exponent - bias - 63), leading one in bit 63.
struct Unpacked80 {
    bool sign;
    int exponent;
    u64 significand;
};

inline F80 pack80(bool sign, int exponent, u64 significand) {
    return F80{significand, static_cast<u16>((sign ? 0x8000 : 0) | exponent)};
}
inline F80 zero80(bool sign) { return pack80(sign, 0, 0); }
inline F80 infinity80(bool sign) { return pack80(sign, F80::kMaxExponent, F80::kIntegerBit); }

inline bool is_normal(F80 a) {
    return static_cast<unsigned>(a.exponent() - 1) < F80::kMaxExponent - 1u && (a.significand & F80::kIntegerBit);
}
inline bool is_zero(F80 a) { return a.exponent() == 0 && a.significand == 0; }
inline bool is_denormal(F80 a) { return a.exponent() == 0 && a.significand != 0; }
inline bool is_infinity(F80 a) { return a.exponent() == F80::kMaxExponent && a.significand == F80::kIntegerBit; }
inline bool is_nan(F80 a) { return a.exponent() == F80::kMaxExponent && a.significand > F80::kIntegerBit; }
inline bool is_unsupported(F80 a) { return a.exponent() != 0 && !(a.significand & F80::kIntegerBit); }
inline bool is_signaling_nan(F80 a) { return is_nan(a) && !(a.significand & F80::kQuietBit); }
inline F80 quieted(F80 a) { return F80{a.significand | F80::kQuietBit, a.sign_exponent}; }

inline Unpacked80 unpack80(F80 a) {
    if (a.exponent() != 0) return {a.sign(), a.exponent(), a.significand};
    const int shift = leading_zeros(a.significand);
    return {a.sign(), 1 - shift, a.significand << shift};
}

inline F80 invalid80(Status& status) {
    status.raise(kInvalid);
    return kDefaultNan80;
}

// SDM volume 1, table 4-7, x87 column. At least one of a and b is a NaN.
F80 propagate_nan(F80 a, F80 b, Status& status);

// Reports denormal operands. Returns false when that is unmasked: the operation then ends.
[[nodiscard]] inline bool take_denormals(F80 a, F80 b, Status& status) {
    if (is_denormal(a) || is_denormal(b) || status.denormal_source) status.raise(kDenormal);
    return !status.unmasked(status.flags & kDenormal);
}

// Whether a magnitude is to be rounded away from zero, by the bits below its last place (top bit: one half) and the
// last place's bit.
inline bool rounds_away(u64 below, bool odd, bool sign, Rounding rounding) {
    constexpr u64 kHalf = u64{1} << 63;
    switch (rounding) {
    case Rounding::NearestEven: return below > kHalf || (below == kHalf && odd);
    case Rounding::Down: return sign && below != 0;
    case Rounding::Up: return !sign && below != 0;
    case Rounding::TowardZero: break;
    }
    return false;
}

// Rounding with everything there is to it: precision control, overflow, underflow.
F80 round_and_pack80_edge(bool sign, int exponent, u64 significand, u64 fraction, Status& status);

// The number significand:fraction * 2^(exponent - bias - 63), the leading one in bit 63 of `significand` and the
// fraction's lowest bit sticky, rounded as rounding and precision control say.
inline F80 round_and_pack80(bool sign, int exponent, u64 significand, u64 fraction, Status& status) {
    const bool in_range = static_cast<unsigned>(exponent - 1) < F80::kMaxExponent - 2u; // a carry included
    if (!in_range || status.precision != Precision::Extended) [[unlikely]]
        return round_and_pack80_edge(sign, exponent, significand, fraction, status);
    const bool away = rounds_away(fraction, (significand & 1) != 0, sign, status.rounding);
    status.raise(fraction != 0 ? kPrecision : 0);
    status.rounded_up = away;
    significand += away;
    if (significand == 0) [[unlikely]] // only a carry out of all ones
        return pack80(sign, exponent + 1, F80::kIntegerBit);
    return pack80(sign, exponent, significand);
}
// The same without regard to precision control: instructions other than add, subtract, multiply, divide and square root
// always round to 64 bits (SDM volume 1, section 8.1.5.2).
F80 round_and_pack_extended(bool sign, int exponent, u64 significand, u64 fraction, Status& status);

// From a u128 that is not zero, its leading one anywhere; `exponent` is what it would be if that were bit 127.
inline F80 normalize_round_and_pack80(bool sign, int exponent, u128 significand, Status& status) {
    const int shift = leading_zeros(significand);
    significand <<= shift;
    return round_and_pack80(sign, exponent - shift, static_cast<u64>(significand >> 64), static_cast<u64>(significand),
                            status);
}

} // namespace calque::cpu::fp
