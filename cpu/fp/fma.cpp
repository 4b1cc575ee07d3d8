// Fused multiply-add: the exact product and the addend are summed in twice the width, then rounded once.
#include "cpu/fp/arith.h"
#include "cpu/fp/operands.h"

#include <utility>

namespace calque::cpu::fp {

namespace {

// The double-width significand: leading one of a normalized value in bit kLead.
template <class Float> struct Wide;
template <> struct Wide<F32> {
    using Type = u64;
    static constexpr int kLead = 62;
    static u64 fold(u64 value) { return value; }
};
template <> struct Wide<F64> {
    using Type = u128;
    static constexpr int kLead = 126;
    static u64 fold(u128 value) { return static_cast<u64>(value >> 64) | (static_cast<u64>(value) != 0); }
};

template <class Float> struct Term {
    bool sign;
    int exponent;
    typename Wide<Float>::Type significand;
};

// Sums two terms that are not zero, normalized, and rounds.
template <class Float> inline Float sum_terms(Term<Float> x, Term<Float> y, Status& status) {
    using W = Wide<Float>;
    if (x.exponent < y.exponent || (x.exponent == y.exponent && x.significand < y.significand)) std::swap(x, y);
    const typename W::Type shifted = shift_right_sticky(y.significand, x.exponent - y.exponent);
    if (x.sign != y.sign) {
        typename W::Type difference = x.significand - shifted;
        if (difference == 0) return zero<Float>(status.rounding == Rounding::Down);
        const int shift = leading_zeros(difference) - 1;
        return round_and_pack<Float>(x.sign, x.exponent - shift, W::fold(difference << shift), status);
    }
    typename W::Type sum = x.significand + shifted;
    int exponent = x.exponent;
    if (sum >> (W::kLead + 1)) {
        sum = (sum >> 1) | (sum & 1);
        ++exponent;
    }
    return round_and_pack<Float>(x.sign, exponent, W::fold(sum), status);
}

template <class Float> inline Term<Float> product_term(const Unpacked& a, const Unpacked& b, bool negate) {
    using W = Wide<Float>;
    constexpr int kDrop = kLeadingBit - Format<Float>::kFractionBits;
    using Type = typename W::Type;
    // Significands of kFractionBits + 1 bits each: the product leads in bit 2 * kFractionBits or one above.
    Type product = static_cast<Type>(a.significand >> kDrop) * static_cast<Type>(b.significand >> kDrop);
    product <<= W::kLead - 2 * Format<Float>::kFractionBits - 1;
    int exponent = a.exponent + b.exponent - Format<Float>::kBias + 1;
    if (!(product >> W::kLead)) {
        product <<= 1;
        --exponent;
    }
    return {(a.sign != b.sign) != negate, exponent, product};
}

template <class Float> inline Float fma_finite(const Unpacked& a, const Unpacked& b, const Unpacked& c,
                                               bool negate_product, bool negate_addend, Status& status) {
    using W = Wide<Float>;
    const Term<Float> product = product_term<Float>(a, b, negate_product);
    const Term<Float> addend{c.sign != negate_addend, c.exponent,
                             static_cast<typename W::Type>(c.significand) << (W::kLead - kLeadingBit)};
    return sum_terms<Float>(product, addend, status);
}

template <class Float> Float propagate_nan(Float a, Float b, Float c, Status& status) {
    if (is_signaling_nan(a) || is_signaling_nan(b) || is_signaling_nan(c)) status.raise(kInvalid);
    return quieted(is_nan(a) ? a : is_nan(b) ? b : c);
}

template <class Float> [[gnu::noinline]] Float fma_special(Float a, Float b, Float c, bool negate_product,
                                                           bool negate_addend, Status& status) {
    if (is_nan(a) || is_nan(b) || is_nan(c)) return propagate_nan(a, b, c, status);
    const bool product_sign = (sign_of(a) != sign_of(b)) != negate_product;
    const bool addend_sign = sign_of(c) != negate_addend;
    const bool infinite_product = is_infinity(a) || is_infinity(b);
    const bool zero_product = is_zero(denormal_as_zero(a, status)) || is_zero(denormal_as_zero(b, status));
    if (infinite_product && (zero_product || (is_infinity(c) && product_sign != addend_sign)))
        return invalid_operation<Float>(status);
    take_denormals(a, b, status);
    take_denormal(c, status);
    if (infinite_product) return infinity<Float>(product_sign);
    if (is_infinity(c)) return infinity<Float>(addend_sign);
    if (zero_product) {
        if (!is_zero(c)) {
            const Unpacked u = unpack_finite(c); // a denormal c is tiny: let the rounding say so
            return round_and_pack<Float>(addend_sign, u.exponent, u.significand, status);
        }
        return zero<Float>(product_sign == addend_sign ? product_sign : status.rounding == Rounding::Down);
    }
    const Unpacked x = unpack_finite(a);
    const Unpacked y = unpack_finite(b);
    if (is_zero(c)) {
        const Term<Float> product = product_term<Float>(x, y, negate_product);
        return round_and_pack<Float>(product.sign, product.exponent, Wide<Float>::fold(product.significand), status);
    }
    return fma_finite<Float>(x, y, unpack_finite(c), negate_product, negate_addend, status);
}

template <class Float> inline Float fma_any(Float a, Float b, Float c, FmaSign sign, Status& status) {
    const bool negate_product = (static_cast<u8>(sign) & 2) != 0;
    const bool negate_addend = (static_cast<u8>(sign) & 1) != 0;
    if (!is_normal(a) || !is_normal(b) || !is_normal(c)) [[unlikely]]
        return fma_special(a, b, c, negate_product, negate_addend, status);
    return fma_finite<Float>(unpack_normal(a), unpack_normal(b), unpack_normal(c), negate_product, negate_addend,
                             status);
}

} // namespace

F32 fma(F32 a, F32 b, F32 c, FmaSign sign, Status& status) { return fma_any(a, b, c, sign, status); }
F64 fma(F64 a, F64 b, F64 c, FmaSign sign, Status& status) { return fma_any(a, b, c, sign, status); }

} // namespace calque::cpu::fp
