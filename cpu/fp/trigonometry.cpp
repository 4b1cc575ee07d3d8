// FSIN, FCOS, FSINCOS and FPTAN.
#include "cpu/fp/transcendental.h"
#include "cpu/fp/wide.h"

namespace calque::cpu::fp {

namespace {

// pi as the hardware has it, in units of 2^-64: 66 bits (SDM volume 1, section 8.3.8).
constexpr u128 kPi = u128{3} << 64 | 0x243f6a8885a308d3;

// 1/n! of every second n from `first`, in units of 2^-127.
template <std::size_t kTerms> constexpr std::array<u128, kTerms> reciprocal_factorials(unsigned first) {
    std::array<u128, kTerms> terms{};
    u128 term = kOne127;
    for (std::size_t k = 0; k < kTerms; ++k) {
        terms[k] = term;
        const unsigned n = first + 2 * static_cast<unsigned>(k);
        term /= (n + 1) * (n + 2);
    }
    return terms;
}
constexpr auto kSineTerms = reciprocal_factorials<17>(1);
constexpr auto kCosineTerms = reciprocal_factorials<17>(0);

// a = quadrant * pi/2 + rest, |rest| <= pi/4.
struct Reduced {
    unsigned quadrant;
    bool negative; // the rest
    Wide rest;
};

// a is finite, not zero, and below 2^63.
Reduced reduce(F80 a) {
    const Unpacked80 u = unpack80(a);
    const int power = u.exponent - F80::kBias;
    if (power < -2) return {0, a.sign(), to_wide(a)};
    // In units of 2^-65 both a and pi/2 are integers, and the division is exact.
    const u128 magnitude = u128{u.significand} << (power + 2);
    u128 quotient = magnitude / kPi;
    u128 rest = magnitude % kPi;
    bool negative = a.sign();
    if (rest * 2 > kPi) {
        rest = kPi - rest;
        ++quotient;
        negative = !negative;
    }
    const unsigned turns = static_cast<unsigned>(quotient & 3);
    return {a.sign() ? (4 - turns) & 3 : turns, negative, normalized(127 - 65, rest)};
}

// sin and cos of a positive number up to pi/4, never too large: the true values, unless they are cut off, are not
// reached.
Wide sine_kernel(Wide a) {
    const Wide product = multiply(a, normalized(0, evaluate_series<true>(square_fraction(a), kSineTerms)));
    return normalized(product.exponent, product.significand - 1);
}
Wide cosine_kernel(Wide a) { return normalized(0, evaluate_series<true>(square_fraction(a), kCosineTerms) - 1); }

F80 sine_of(const Reduced& r, Status& status) {
    const bool negate = (r.quadrant & 2) != 0;
    if (r.quadrant & 1) return round_inexact(negate, cosine_kernel(r.rest), status);
    return round_inexact(r.negative != negate, sine_kernel(r.rest), status);
}

F80 cosine_of(Reduced r, Status& status) {
    r.quadrant = (r.quadrant + 1) & 3;
    return sine_of(r, status);
}

F80 tangent_of(const Reduced& r, Status& status) {
    const Wide sine = multiply(r.rest, normalized(0, evaluate_series<true>(square_fraction(r.rest), kSineTerms)));
    const Wide cosine = normalized(0, evaluate_series<true>(square_fraction(r.rest), kCosineTerms));
    if (r.quadrant & 1) return round_inexact(!r.negative, divide(cosine, sine), status);
    return round_inexact(r.negative, divide(sine, cosine), status);
}

enum class Domain { Computed, Special, TooLarge };

// What FSIN, FCOS and FPTAN have in common. When the answer is Special, `special` is the result of all but zeros.
Domain classify_argument(F80 a, F80& special, Status& status) {
    special = a;
    if (is_unsupported(a) || is_infinity(a)) {
        special = invalid80(status);
        return Domain::Special;
    }
    if (is_nan(a)) {
        special = propagate_nan(a, a, status);
        return Domain::Special;
    }
    if (a.exponent() >= F80::kBias + 63) return Domain::TooLarge;
    if (is_zero(a) || !take_denormals(a, a, status)) return Domain::Special;
    return Domain::Computed;
}

constexpr F80 kOne80{F80::kIntegerBit, F80::kBias};

template <class Compute> Trigonometric evaluate(F80 a, F80 at_zero, Status& status, Compute compute) {
    F80 special;
    switch (classify_argument(a, special, status)) {
    case Domain::TooLarge: return {a, false};
    case Domain::Special: return {is_zero(a) ? at_zero : special, true};
    case Domain::Computed: break;
    }
    return {compute(reduce(a), status), true};
}

} // namespace

Trigonometric sine(F80 a, Status& status) { return evaluate(a, a, status, sine_of); }
Trigonometric cosine(F80 a, Status& status) { return evaluate(a, kOne80, status, cosine_of); }
Trigonometric tangent(F80 a, Status& status) { return evaluate(a, a, status, tangent_of); }

SineCosine sine_cosine(F80 a, Status& status) {
    const F80 c = cosine(a, status).value;
    const Trigonometric s = sine(a, status);
    return {s.value, c, s.complete};
}

} // namespace calque::cpu::fp
