// F80 addition, subtraction, multiplication, division, square root and comparison.
#include "cpu/fp/f80_internal.h"
#include "cpu/fp/sqrt.h"

#include <utility>

namespace calque::cpu::fp {

F80Class classify(F80 a) {
    if (is_unsupported(a)) return F80Class::Unsupported;
    if (a.exponent() == F80::kMaxExponent) return is_infinity(a) ? F80Class::Infinity : F80Class::Nan;
    if (a.exponent() != 0) return F80Class::Normal;
    return a.significand == 0 ? F80Class::Zero : F80Class::Denormal;
}

F80 propagate_nan(F80 a, F80 b, Status& status) {
    const bool signaling_a = is_signaling_nan(a);
    const bool signaling_b = is_signaling_nan(b);
    if (signaling_a || signaling_b) status.raise(kInvalid);
    if (!is_nan(b)) return quieted(a);
    if (!is_nan(a)) return quieted(b);
    if (signaling_a != signaling_b) return signaling_a ? b : a; // the quiet one
    if (a.significand != b.significand) return quieted(a.significand > b.significand ? a : b);
    return quieted(a.sign() ? b : a);
}

namespace {

// Neither is zero.
inline F80 add_unpacked(Unpacked80 larger, Unpacked80 smaller, Status& status) {
    if (larger.exponent < smaller.exponent
        || (larger.exponent == smaller.exponent && larger.significand < smaller.significand))
        std::swap(larger, smaller);
    // Leading ones in bit 126 leave room for the carry, and 63 places below for what is shifted out.
    const u128 wide = u128{larger.significand} << 63;
    const int distance = larger.exponent - smaller.exponent;
    const u128 aligned = distance <= 63 ? (u128{smaller.significand} << 63) >> distance
                                        : shift_right_sticky(u128{smaller.significand} << 63, distance);
    const u128 sum = larger.sign == smaller.sign ? wide + aligned : wide - aligned;
    if (sum == 0) return zero80(status.rounding == Rounding::Down);
    return normalize_round_and_pack80(larger.sign, larger.exponent + 1, sum, status);
}

F80 add_finite(F80 a, F80 b, Status& status) {
    if (is_zero(a) || is_zero(b)) {
        if (is_zero(a) && is_zero(b))
            return zero80(a.sign() == b.sign() ? a.sign() : status.rounding == Rounding::Down);
        const Unpacked80 u = unpack80(is_zero(a) ? b : a);
        return round_and_pack80(u.sign, u.exponent, u.significand, 0, status);
    }
    return add_unpacked(unpack80(a), unpack80(b), status);
}

inline Unpacked80 unpack_normal80(F80 a) { return {a.sign(), a.exponent(), a.significand}; }

F80 add_any(F80 a, F80 b, bool negate_b, Status& status) {
    const F80 addend = negate_b ? F80{b.significand, static_cast<u16>(b.sign_exponent ^ 0x8000)} : b;
    if (is_normal(a) && is_normal(b) && !status.denormal_source) [[likely]]
        return add_unpacked(unpack_normal80(a), unpack_normal80(addend), status);
    if (is_unsupported(a) || is_unsupported(b)) return invalid80(status);
    if (is_nan(a) || is_nan(b)) return propagate_nan(a, b, status);
    if (is_infinity(a) && is_infinity(b) && a.sign() != addend.sign()) return invalid80(status);
    if (!take_denormals(a, b, status)) return a;
    if (is_infinity(a)) return a;
    if (is_infinity(b)) return addend;
    return add_finite(a, addend, status);
}

inline F80 mul_unpacked(const Unpacked80& x, const Unpacked80& y, Status& status) {
    u128 product = u128{x.significand} * y.significand; // leading one in bit 127 or 126
    const int shift = (product >> 127) == 0;
    product <<= shift;
    return round_and_pack80(x.sign != y.sign, x.exponent + y.exponent - F80::kBias + 1 - shift,
                            static_cast<u64>(product >> 64), static_cast<u64>(product), status);
}

F80 div_finite(F80 a, F80 b, Status& status) {
    const Unpacked80 x = unpack80(a);
    const Unpacked80 y = unpack80(b);
    const bool below = x.significand < y.significand;
    const u128 dividend = u128{x.significand} << (below ? 64 : 63);
    const u64 quotient = static_cast<u64>(dividend / y.significand);
    const u128 twice = (dividend - u128{quotient} * y.significand) << 1;
    const u64 fraction =
        (u64{twice >= y.significand} << 63) | (twice != 0 && twice != y.significand); // one half, and what is beyond it
    return round_and_pack80(x.sign != y.sign, x.exponent - y.exponent + F80::kBias - below, quotient, fraction, status);
}

} // namespace

F80 add(F80 a, F80 b, Status& status) { return add_any(a, b, false, status); }
F80 sub(F80 a, F80 b, Status& status) { return add_any(a, b, true, status); }

F80 mul(F80 a, F80 b, Status& status) {
    if (is_normal(a) && is_normal(b) && !status.denormal_source) [[likely]]
        return mul_unpacked(unpack_normal80(a), unpack_normal80(b), status);
    if (is_unsupported(a) || is_unsupported(b)) return invalid80(status);
    if (is_nan(a) || is_nan(b)) return propagate_nan(a, b, status);
    const bool sign = a.sign() != b.sign();
    if ((is_infinity(a) && is_zero(b)) || (is_zero(a) && is_infinity(b))) return invalid80(status);
    if (!take_denormals(a, b, status)) return a;
    if (is_infinity(a) || is_infinity(b)) return infinity80(sign);
    if (is_zero(a) || is_zero(b)) return zero80(sign);
    return mul_unpacked(unpack80(a), unpack80(b), status);
}

F80 div(F80 a, F80 b, Status& status) {
    if (is_normal(a) && is_normal(b) && !status.denormal_source) [[likely]]
        return div_finite(a, b, status);
    if (is_unsupported(a) || is_unsupported(b)) return invalid80(status);
    if (is_nan(a) || is_nan(b)) return propagate_nan(a, b, status);
    const bool sign = a.sign() != b.sign();
    if ((is_infinity(a) && is_infinity(b)) || (is_zero(a) && is_zero(b))) return invalid80(status);
    if (is_zero(b) && !is_infinity(a)) {
        status.raise(kDivideByZero); // and no denormal operand is reported
        return infinity80(sign);
    }
    if (!take_denormals(a, b, status)) return a;
    if (is_infinity(a)) return infinity80(sign);
    if (is_infinity(b) || is_zero(a)) return zero80(sign);
    return div_finite(a, b, status);
}

F80 sqrt(F80 a, Status& status) {
    if (is_unsupported(a)) return invalid80(status);
    if (is_nan(a)) return propagate_nan(a, a, status);
    if (is_zero(a)) return a;
    if (a.sign()) return invalid80(status);
    if (is_infinity(a)) return a;
    if (!take_denormals(a, a, status)) return a;
    const Unpacked80 x = unpack80(a);
    const int power = x.exponent - F80::kBias;
    const u128 radicand = u128{x.significand} << (63 + (power & 1)); // at least 2^126; the root leads in bit 63
    const SquareRoot root = integer_sqrt(radicand);
    // The root is never exactly half way between two significands.
    const u64 fraction = (u64{root.remainder > root.root} << 63) | (root.remainder != 0);
    return round_and_pack80(false, (power >> 1) + F80::kBias, root.root, fraction, status);
}

namespace {

Relation order(F80 a, F80 b) {
    if (is_zero(a) && is_zero(b)) return Relation::Equal;
    if (a.sign() != b.sign()) return a.sign() ? Relation::Less : Relation::Greater;
    // Pseudo-denormals have the value of exponent 1.
    const int exponent_a = a.exponent() + (a.exponent() == 0);
    const int exponent_b = b.exponent() + (b.exponent() == 0);
    if (exponent_a == exponent_b && a.significand == b.significand) return Relation::Equal;
    const bool smaller = exponent_a != exponent_b ? exponent_a < exponent_b : a.significand < b.significand;
    return smaller != a.sign() ? Relation::Less : Relation::Greater;
}

Relation compare(F80 a, F80 b, bool signaling, Status& status) {
    if (is_unsupported(a) || is_unsupported(b)) {
        status.raise(kInvalid);
        return Relation::Unordered;
    }
    if (is_nan(a) || is_nan(b)) {
        if (signaling || is_signaling_nan(a) || is_signaling_nan(b)) status.raise(kInvalid);
        return Relation::Unordered;
    }
    (void)take_denormals(a, b, status);
    return order(a, b);
}

} // namespace

Relation compare_quiet(F80 a, F80 b, Status& status) { return compare(a, b, false, status); }
Relation compare_signaling(F80 a, F80 b, Status& status) { return compare(a, b, true, status); }

} // namespace calque::cpu::fp
