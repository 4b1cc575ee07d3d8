// Addition, subtraction, multiplication, division and square root of F32 and F64.
#include "cpu/fp/arith.h"

#include "cpu/fp/operands.h"
#include "cpu/fp/sqrt.h"

#include <utility>

namespace calque::cpu::fp {

namespace {

template <class Float> using Bits = typename Format<Float>::Bits;

// |larger| + |smaller|, both finite, as (exponent, significand) with exponent at least 1.
template <class Float> inline Float add_magnitudes(bool sign, int larger_exponent, u64 larger, int smaller_exponent,
                                                   u64 smaller, Status& status) {
    const u64 sum = larger + shift_right_sticky(smaller, larger_exponent - smaller_exponent);
    if (sum >> 63) return round_and_pack<Float>(sign, larger_exponent + 1, (sum >> 1) | (sum & 1), status);
    if (sum >> kLeadingBit) [[likely]]
        return round_and_pack<Float>(sign, larger_exponent, sum, status);
    if (sum == 0) return zero<Float>(sign);
    return normalize_round_and_pack<Float>(sign, larger_exponent, sum, status);
}

template <class Float> inline Float sub_magnitudes(bool sign, int larger_exponent, u64 larger, int smaller_exponent,
                                                   u64 smaller, Status& status) {
    const u64 difference = larger - shift_right_sticky(smaller, larger_exponent - smaller_exponent);
    if (difference == 0) return zero<Float>(status.rounding == Rounding::Down);
    return normalize_round_and_pack<Float>(sign, larger_exponent, difference, status);
}

// Exponent and significand of a finite number for addition: denormals keep exponent 1 and no leading one.
template <class Float> inline Unpacked unpack_for_add(Float a) {
    using F = Format<Float>;
    const int exponent = exponent_of(a);
    const u64 fraction = a.bits & F::kFraction;
    if (exponent == 0) return {sign_of(a), 1, fraction << (kLeadingBit - F::kFractionBits)};
    return {sign_of(a), exponent, (fraction | F::kHidden) << (kLeadingBit - F::kFractionBits)};
}

template <class Float> inline Float add_finite(Float a, Float b, Status& status) {
    using F = Format<Float>;
    if (static_cast<Bits<Float>>(a.bits & ~F::kSign) < static_cast<Bits<Float>>(b.bits & ~F::kSign)) std::swap(a, b);
    const Unpacked larger = unpack_for_add(a);
    const Unpacked smaller = unpack_for_add(b);
    if (larger.sign == smaller.sign)
        return add_magnitudes<Float>(larger.sign, larger.exponent, larger.significand, smaller.exponent,
                                     smaller.significand, status);
    return sub_magnitudes<Float>(larger.sign, larger.exponent, larger.significand, smaller.exponent,
                                 smaller.significand, status);
}

// a + b, or a - b by `negate` = the sign bit, with an operand that is no normal number.
template <class Float> [[gnu::noinline]] Float add_special(Float a, Float b, Bits<Float> negate, Status& status) {
    if (is_nan(a) || is_nan(b)) return propagate_nan(a, b, status);
    take_denormals(a, b, status);
    b.bits ^= negate;
    if (is_infinity(a)) return is_infinity(b) && a != b ? invalid_operation<Float>(status) : a;
    if (is_infinity(b)) return b;
    return add_finite(a, b, status);
}

template <class Float> inline Float add_any(Float a, Float b, Bits<Float> negate, Status& status) {
    if (!is_normal(a) || !is_normal(b)) [[unlikely]]
        return add_special(a, b, negate, status);
    b.bits ^= negate;
    return add_finite(a, b, status);
}

// The product of two significands with leading ones in bit 62: leading one in bit 62 or 61, the rest sticky.
inline u64 multiply_significands(u64 a, u64 b) {
    const u128 product = u128{a} * (b << 1);
    return static_cast<u64>(product >> 64) | (static_cast<u64>(product) != 0);
}

template <class Float> inline Float mul_unpacked(const Unpacked& a, const Unpacked& b, Status& status) {
    u64 product = multiply_significands(a.significand, b.significand);
    int exponent = a.exponent + b.exponent - Format<Float>::kBias + 1;
    if (!(product >> kLeadingBit)) {
        product <<= 1;
        --exponent;
    }
    return round_and_pack<Float>(a.sign != b.sign, exponent, product, status);
}

template <class Float> [[gnu::noinline]] Float mul_special(Float a, Float b, Status& status) {
    if (is_nan(a) || is_nan(b)) return propagate_nan(a, b, status);
    const bool sign = sign_of(a) != sign_of(b);
    if (is_infinity(a) || is_infinity(b)) {
        if (is_zero(denormal_as_zero(a, status)) || is_zero(denormal_as_zero(b, status)))
            return invalid_operation<Float>(status);
        take_denormals(a, b, status);
        return infinity<Float>(sign);
    }
    take_denormals(a, b, status);
    if (is_zero(a) || is_zero(b)) return zero<Float>(sign);
    return mul_unpacked<Float>(unpack_finite(a), unpack_finite(b), status);
}

template <class Float> inline Float mul_any(Float a, Float b, Status& status) {
    if (!is_normal(a) || !is_normal(b)) [[unlikely]]
        return mul_special(a, b, status);
    return mul_unpacked<Float>(unpack_normal(a), unpack_normal(b), status);
}

// a / b for significands with leading ones in bit 62, a >= b: the quotient's leading one is in bit 62.
template <class Float> inline u64 divide_significands(u64 a, u64 b) {
    if constexpr (Format<Float>::kFractionBits == 23) {
        // 24-bit significands: 26 quotient bits are enough, and one 64-bit division gives 40.
        const u64 divisor = b >> 39;
        const u64 quotient = a / divisor; // leading one in bit 39
        return (quotient << 23) | (a % divisor != 0);
    } else {
        const u128 dividend = u128{a} << kLeadingBit;
        const u64 quotient = static_cast<u64>(dividend / b);
        return quotient | (u128{quotient} * b != dividend);
    }
}

template <class Float> inline Float div_unpacked(const Unpacked& a, const Unpacked& b, Status& status) {
    int exponent = a.exponent - b.exponent + Format<Float>::kBias;
    u64 dividend = a.significand;
    if (dividend < b.significand) {
        dividend <<= 1;
        --exponent;
    }
    return round_and_pack<Float>(a.sign != b.sign, exponent, divide_significands<Float>(dividend, b.significand),
                                 status);
}

template <class Float> [[gnu::noinline]] Float div_special(Float a, Float b, Status& status) {
    if (is_nan(a) || is_nan(b)) return propagate_nan(a, b, status);
    const bool sign = sign_of(a) != sign_of(b);
    const bool zero_dividend = is_zero(denormal_as_zero(a, status));
    const bool zero_divisor = is_zero(denormal_as_zero(b, status));
    if (zero_dividend && zero_divisor) return invalid_operation<Float>(status);
    if (is_infinity(a) && is_infinity(b)) return invalid_operation<Float>(status);
    if (zero_divisor && !is_infinity(a)) {
        status.raise(kDivideByZero);
        return infinity<Float>(sign);
    }
    take_denormals(a, b, status);
    if (is_infinity(a)) return infinity<Float>(sign);
    if (is_infinity(b) || zero_dividend) return zero<Float>(sign);
    return div_unpacked<Float>(unpack_finite(a), unpack_finite(b), status);
}

template <class Float> inline Float div_any(Float a, Float b, Status& status) {
    if (!is_normal(a) || !is_normal(b)) [[unlikely]]
        return div_special(a, b, status);
    return div_unpacked<Float>(unpack_normal(a), unpack_normal(b), status);
}

template <class Float> inline Float sqrt_any(Float a, Status& status) {
    if (is_nan(a)) return propagate_nan(a, a, status);
    if (is_zero(denormal_as_zero(a, status))) return denormal_as_zero(a, status);
    if (sign_of(a)) return invalid_operation<Float>(status);
    if (is_infinity(a)) return a;
    take_denormal(a, status);
    const Unpacked u = unpack_finite(a);
    // An even power of two below the root: the radicand is significand * 2^(0 or 1).
    const int power = u.exponent - Format<Float>::kBias;
    const u64 root = sqrt_significand<Float>(u.significand << (power & 1));
    return round_and_pack<Float>(false, (power >> 1) + Format<Float>::kBias, root, status);
}

} // namespace

F32 add(F32 a, F32 b, Status& status) { return add_any(a, b, 0, status); }
F64 add(F64 a, F64 b, Status& status) { return add_any(a, b, 0, status); }
F32 sub(F32 a, F32 b, Status& status) { return add_any(a, b, Format<F32>::kSign, status); }
F64 sub(F64 a, F64 b, Status& status) { return add_any(a, b, Format<F64>::kSign, status); }
F32 mul(F32 a, F32 b, Status& status) { return mul_any(a, b, status); }
F64 mul(F64 a, F64 b, Status& status) { return mul_any(a, b, status); }
F32 div(F32 a, F32 b, Status& status) { return div_any(a, b, status); }
F64 div(F64 a, F64 b, Status& status) { return div_any(a, b, status); }
F32 sqrt(F32 a, Status& status) { return sqrt_any(a, status); }
F64 sqrt(F64 a, Status& status) { return sqrt_any(a, status); }

} // namespace calque::cpu::fp
