// Addition, subtraction, multiplication, division and square root of F32 and F64.
#include "cpu/fp/arith.h"

#include "cpu/fp/operands.h"
#include "cpu/fp/sqrt.h"

#include <utility>

namespace calque::cpu::fp {

namespace {

template <class Float> using Bits = typename Format<Float>::Bits;

// Exponent and significand of a finite number for addition, where denormals keep exponent 1 and no leading one. The
// significand leads in bit 61, so that a sum has room for its carry.
template <class Float> inline Unpacked unpack_for_add(Float a) {
    using F = Format<Float>;
    const int exponent = exponent_of(a);
    const u64 fraction = (a.bits & F::kFraction) | (exponent ? F::kHidden : 0);
    return {sign_of(a), exponent + !exponent, fraction << (kLeadingBit - 1 - F::kFractionBits)};
}

// Free of branches on the signs and on the carry, which no predictor can guess.
template <class Float> inline Float add_finite(Float a, Float b, Status& status) {
    using F = Format<Float>;
    if (static_cast<Bits<Float>>(a.bits & ~F::kSign) < static_cast<Bits<Float>>(b.bits & ~F::kSign)) std::swap(a, b);
    const Unpacked larger = unpack_for_add(a);
    const Unpacked smaller = unpack_for_add(b);
    const u64 negate = larger.sign != smaller.sign ? ~u64{0} : 0;
    const u64 aligned = shift_right_sticky(smaller.significand, larger.exponent - smaller.exponent);
    const u64 sum = larger.significand + ((aligned ^ negate) - negate);
    if (sum == 0) return zero<Float>(negate ? status.rounding == Rounding::Down : larger.sign);
    const int shift = leading_zeros(sum) - 1;
    return round_and_pack<Float>(larger.sign, larger.exponent + 1 - shift, sum << shift, status);
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
