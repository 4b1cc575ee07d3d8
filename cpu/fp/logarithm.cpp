// F2XM1, FYL2X and FYL2XP1.
#include "cpu/fp/transcendental.h"
#include "cpu/fp/wide.h"

namespace calque::cpu::fp {

namespace {

constexpr Wide kLn2{-1, u128{0xb17217f7d1cf79ab} << 64 | 0xc9e3b39803f2f6af};
constexpr Wide kTwoLog2E{1, u128{0xb8aa3b295c17f0bb} << 64 | 0xbe87fed0691d3e88}; // 2 / ln 2
constexpr u128 kSqrt2 = u128{0xb504f333f9de6484} << 64 | 0x597d89b3754abe9f;      // in units of 2^-127
constexpr F80 kOne80{F80::kIntegerBit, F80::kBias};

// 1/(k+1)! for (e^x - 1) / x, and 1/(2k+1) for atanh(x) / x, in units of 2^-127.
constexpr auto kExponentialTerms = [] {
    std::array<u128, 31> terms{};
    u128 term = kOne127;
    for (unsigned k = 0; k < terms.size(); ++k, term /= k + 1)
        terms[k] = term;
    return terms;
}();
constexpr auto kAtanhTerms = [] {
    std::array<u128, 26> terms{};
    for (unsigned k = 0; k < terms.size(); ++k)
        terms[k] = kOne127 / (2 * k + 1);
    return terms;
}();

// log2((1 + s) / (1 - s)) = 2 / ln 2 * atanh(s), for 0 < s < 0.1716.
Wide log2_of_ratio(Wide s) {
    const Wide series = normalized(0, evaluate_series<false>(square_fraction(s), kAtanhTerms));
    return multiply(multiply(s, series), kTwoLog2E);
}

// A logarithm: `zero` stands for log2(1), `exact` for an integer.
struct Logarithm {
    bool negative;
    bool zero;
    bool exact;
    Wide magnitude;
};

// log2(significand * 2^(exponent - 127)).
Logarithm log2_of(Wide x) {
    const bool upper = x.significand > kSqrt2;
    const int whole = x.exponent + upper;
    // m = x / 2^whole lies between 1/sqrt(2) and sqrt(2); s = (m - 1) / (m + 1) with numerator and denominator in units
    // of 2^-127 or 2^-128.
    const u128 numerator = upper ? u128{0} - x.significand : x.significand - kOne127;
    const u128 half_denominator = (x.significand >> 1) + (upper ? kOne127 : kOne127 >> 1);
    const u128 integer = u128{static_cast<u64>(whole < 0 ? -whole : whole)} << 112;
    if (numerator == 0) return {whole < 0, whole == 0, true, integer ? normalized(15, integer) : Wide{0, 0}};
    const Wide s = divide(normalized(0, numerator), normalized(1, half_denominator));
    const Wide fraction = log2_of_ratio(s);
    if (whole == 0) return {upper, false, false, fraction};
    const u128 fixed = to_fixed(fraction, 112);
    const bool towards_zero = upper != (whole < 0);
    return {whole < 0, false, false, normalized(15, towards_zero ? integer - fixed : integer + fixed)};
}

// log2(1 + x) for a finite x > -1, not zero.
Logarithm log2_of_sum(F80 x) {
    const Wide wide = to_wide(x);
    if (wide.exponent < -2 || (wide.exponent == -2 && wide.significand < (u128{0x95} << 120))) { // |x| < 0.291
        // s = x / (2 + x), without forming 1 + x, so that a small x keeps all its bits.
        const u128 part = to_fixed(wide, 126);
        const Wide denominator = normalized(1, x.sign() ? kOne127 - part : kOne127 + part);
        return {x.sign(), false, false, log2_of_ratio(divide(wide, denominator))};
    }
    if (x.sign()) return log2_of(normalized(0, kOne127 - to_fixed(wide, 127)));
    if (wide.exponent >= 127) return log2_of(wide);
    if (wide.exponent < 0) return log2_of(normalized(0, kOne127 + to_fixed(wide, 127)));
    // 1 + x may carry into a new binade.
    const u128 sum = (wide.significand >> 1) + (kOne127 >> (wide.exponent + 1));
    return log2_of(normalized(wide.exponent + 1, sum));
}

F80 scale_logarithm(F80 y, const Logarithm& log, Status& status) {
    const bool sign = y.sign() != log.negative;
    const Wide product = multiply(to_wide(y), log.magnitude);
    if (!log.exact) return round_inexact(sign, product, status);
    // y * n is rounded like any product, but reported as inexact even when it is exact, as the hardware does.
    const F80 result =
        round_and_pack_extended(sign, product.exponent + F80::kBias, static_cast<u64>(product.significand >> 64),
                                static_cast<u64>(product.significand), status);
    status.raise(kPrecision | (is_denormal(result) ? kUnderflow : 0));
    return result;
}

} // namespace

F80 exp2_minus_1(F80 a, Status& status) {
    if (is_unsupported(a)) return invalid80(status);
    if (is_nan(a)) return propagate_nan(a, a, status);
    if (is_zero(a)) return a;
    if (is_infinity(a)) return a.sign() ? F80{kOne80.significand, static_cast<u16>(0x8000 | kOne80.sign_exponent)} : a;
    if (!take_denormals(a, a, status)) return a;
    if (a.exponent() >= F80::kBias) {
        // The hardware computes 1 for 1 as if from just below, -1/2 for -1 exactly but reported as inexact, and keeps
        // operands beyond, for which the manual has no result.
        if (a == kOne80) return round_inexact(false, Wide{-1, ~u128{0}}, status);
        status.raise(kPrecision);
        return a.significand == F80::kIntegerBit && a.exponent() == F80::kBias
                   ? pack80(true, F80::kBias - 1, F80::kIntegerBit)
                   : a;
    }
    const Wide x = multiply(to_wide(a), kLn2);
    const u128 fixed = to_fixed(x, 128);
    const u128 series =
        a.sign() ? evaluate_series<true>(fixed, kExponentialTerms) : evaluate_series<false>(fixed, kExponentialTerms);
    return round_inexact(a.sign(), multiply(x, normalized(0, series)), status);
}

F80 y_log2_x(F80 y, F80 x, Status& status) {
    if (is_unsupported(y) || is_unsupported(x)) return invalid80(status);
    if (is_nan(y) || is_nan(x)) return propagate_nan(y, x, status);
    if (x.sign() && !is_zero(x)) return invalid80(status);
    const bool below_one = x.exponent() < F80::kBias;
    const bool one = x == kOne80;
    if (is_zero(x)) {
        if (is_zero(y)) return invalid80(status);
        if (is_infinity(y)) return infinity80(!y.sign());
        status.raise(kDivideByZero); // as in division, no denormal operand is reported
        return infinity80(!y.sign());
    }
    if ((is_infinity(x) && is_zero(y)) || (one && is_infinity(y))) return invalid80(status);
    if (!take_denormals(y, x, status)) return y;
    if (is_infinity(x)) return infinity80(y.sign());
    if (is_infinity(y)) return infinity80(y.sign() != below_one);
    if (is_zero(y) || one) return zero80(y.sign() != below_one);
    return scale_logarithm(y, log2_of(to_wide(x)), status);
}

F80 y_log2_x_plus_1(F80 y, F80 x, Status& status) {
    if (is_unsupported(y) || is_unsupported(x)) return invalid80(status);
    if (is_nan(y) || is_nan(x)) return propagate_nan(y, x, status);
    if (is_infinity(x) && (x.sign() || is_zero(y))) return invalid80(status);
    if (is_zero(x) && is_infinity(y)) return invalid80(status);
    if (!take_denormals(y, x, status)) return y;
    const bool sign = y.sign() != x.sign();
    if (is_infinity(x) || is_infinity(y)) return infinity80(sign);
    if (is_zero(x) || is_zero(y)) return zero80(sign);
    if (x.sign() && x.exponent() >= F80::kBias) {
        // The manual leaves x <= -1 undefined; the hardware keeps x.
        status.raise(kPrecision);
        return x;
    }
    return scale_logarithm(y, log2_of_sum(x), status);
}

} // namespace calque::cpu::fp
