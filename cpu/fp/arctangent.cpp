// FPATAN.
#include "cpu/fp/transcendental.h"
#include "cpu/fp/wide.h"

namespace calque::cpu::fp {

namespace {

#include "cpu/fp/arctangent_table.inc"

constexpr u128 kPi126 = (u128{0xc90fdaa22168c234} << 64 | 0xc4c6628b80dc1cd1); // pi in units of 2^-126
constexpr Wide kPi{1, kPi126};
constexpr Wide kHalfPi{0, kPi126};
constexpr Wide kQuarterPi{-1, kPi126};

// 1/(2k+1) in units of 2^-127.
constexpr auto kTerms = [] {
    std::array<u128, 12> terms{};
    for (unsigned k = 0; k < terms.size(); ++k)
        terms[k] = kOne127 / (2 * k + 1);
    return terms;
}();

// atan(t) for 0 < t <= 1. With c the multiple of 1/32 next to t, atan(t) = atan(c) + atan((t - c) / (1 + t*c)), and the
// second is below 1/64.
Wide arctangent_kernel(Wide t) {
    if (t.exponent < -6) return multiply(t, normalized(0, evaluate_series<true>(square_fraction(t), kTerms)));
    const u128 fixed = to_fixed(t, 127);
    const unsigned index = static_cast<unsigned>((fixed + (u128{1} << 121)) >> 122);
    const u128 center = u128{index} << 122;
    const bool below = fixed < center;
    const u128 distance = below ? center - fixed : fixed - center;
    // 1 + t*c overflows only when both are 1, and then the distance is 0.
    if (distance == 0) return normalized(0, kArctangents[index]);
    const u128 divisor = kOne127 + (multiply_high(fixed, center) << 1);
    const u128 quotient = divide_fraction(distance, divisor); // in units of 2^-128
    const u128 z = multiply_high(quotient, quotient);
    const u128 rest = multiply_high(quotient, evaluate_series<true>(z, kTerms)); // in units of 2^-127
    return normalized(0, below ? kArctangents[index] - rest : kArctangents[index] + rest);
}

// base - a or base + a, for a < base, in the scale of pi.
Wide combine(Wide base, Wide a, bool subtract) {
    const u128 whole = to_fixed(base, 126);
    const u128 part = to_fixed(a, 126);
    return normalized(1, subtract ? whole - part - 1 : whole + part); // the true difference is never reached
}

// Both finite and not zero.
F80 arctangent_finite(F80 y, F80 x, Status& status) {
    const Wide wide_y = to_wide(y);
    const Wide wide_x = to_wide(x);
    const bool steep = wide_y.exponent != wide_x.exponent ? wide_y.exponent > wide_x.exponent
                                                          : wide_y.significand > wide_x.significand;
    if (!steep) {
        const Wide angle = arctangent_kernel(divide(wide_y, wide_x));
        if (x.sign()) return round_inexact(y.sign(), combine(kPi, angle, true), status);
        return round_inexact(y.sign(), normalized(angle.exponent, angle.significand - 1), status);
    }
    return round_inexact(y.sign(), combine(kHalfPi, arctangent_kernel(divide(wide_x, wide_y)), !x.sign()), status);
}

// SDM volume 2, FPATAN, table 3-31: an infinity or a zero is among the operands.
F80 arctangent_special(F80 y, F80 x, Status& status) {
    if (is_infinity(y)) {
        if (!is_infinity(x)) return round_inexact(y.sign(), kHalfPi, status);
        return round_inexact(y.sign(), x.sign() ? combine(kHalfPi, kQuarterPi, false) : kQuarterPi, status);
    }
    const bool along_x = is_zero(y) || is_infinity(x);
    if (!along_x) return round_inexact(y.sign(), kHalfPi, status); // x is zero
    if (x.sign()) return round_inexact(y.sign(), kPi, status);
    return zero80(y.sign());
}

} // namespace

F80 arctangent(F80 y, F80 x, Status& status) {
    if (is_unsupported(y) || is_unsupported(x)) return invalid80(status);
    if (is_nan(y) || is_nan(x)) return propagate_nan(y, x, status);
    if (!take_denormals(y, x, status)) return y;
    if (is_zero(y) || is_zero(x) || is_infinity(y) || is_infinity(x)) return arctangent_special(y, x, status);
    return arctangent_finite(y, x, status);
}

} // namespace calque::cpu::fp
