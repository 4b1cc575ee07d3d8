// Taking operands apart, and the SSE rules for NaN and denormal operands. Internal to cpu/fp.
#pragma once

#include "cpu/fp/rounding.h"

namespace calque::cpu::fp {

// A finite operand: value = significand * 2^(exponent - bias - kLeadingBit). Zeros have significand 0.
struct Unpacked {
    bool sign;
    int exponent;
    u64 significand;
};

// Exponent neither 0 nor all ones.
template <class Float> inline bool is_normal(Float a) {
    return static_cast<unsigned>(exponent_of(a) - 1) < static_cast<unsigned>(Format<Float>::kMaxExponent - 1);
}

// The significand of a normal number, leading one in bit 62.
template <class Float> inline u64 normal_significand(Float a) {
    using F = Format<Float>;
    return static_cast<u64>((a.bits & F::kFraction) | F::kHidden) << (kLeadingBit - F::kFractionBits);
}

template <class Float> inline Unpacked unpack_normal(Float a) {
    return {sign_of(a), exponent_of(a), normal_significand(a)};
}

// Any finite operand, its leading one (if it has any) in bit 62 and its exponent as low as that asks for.
template <class Float> inline Unpacked unpack_finite(Float a) {
    using F = Format<Float>;
    if (exponent_of(a) != 0) return unpack_normal(a);
    const u64 significand = static_cast<u64>(a.bits & F::kFraction) << (kLeadingBit - F::kFractionBits);
    if (significand == 0) return {sign_of(a), 0, 0};
    const int shift = leading_zeros(significand) - 1;
    return {sign_of(a), 1 - shift, significand << shift};
}

// SDM volume 1, table 4-7, SSE column. At least one of a and b is a NaN.
template <class Float> inline Float propagate_nan(Float a, Float b, Status& status) {
    if (is_signaling_nan(a) || is_signaling_nan(b)) status.raise(kInvalid);
    return quieted(is_nan(a) ? a : b);
}

template <class Float> inline Float invalid_operation(Status& status) {
    status.raise(kInvalid);
    return Float{Format<Float>::kDefaultNan};
}

// Under DAZ a denormal becomes a zero of its sign.
template <class Float> inline Float denormal_as_zero(Float a, const Status& status) {
    return status.daz && is_denormal(a) ? zero<Float>(sign_of(a)) : a;
}

// Applies DAZ to a and b, or reports those that are denormals. Call it when neither is a NaN.
template <class Float> inline void take_denormals(Float& a, Float& b, Status& status) {
    if (!is_denormal(a) && !is_denormal(b)) return;
    if (!status.daz) {
        status.raise(kDenormal);
        return;
    }
    a = denormal_as_zero(a, status);
    b = denormal_as_zero(b, status);
}

template <class Float> inline void take_denormal(Float& a, Status& status) {
    if (!is_denormal(a)) return;
    if (!status.daz) {
        status.raise(kDenormal);
        return;
    }
    a = denormal_as_zero(a, status);
}

} // namespace calque::cpu::fp
