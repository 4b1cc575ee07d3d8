// FRNDINT, FSCALE, FXTRACT, FPREM and FPREM1.
#include "cpu/fp/f80_internal.h"

namespace calque::cpu::fp {

F80 round_to_integral(F80 a, Status& status) {
    if (is_unsupported(a)) return invalid80(status);
    if (is_nan(a)) return propagate_nan(a, a, status);
    const int power = a.exponent() - F80::kBias;
    if (power >= 63 || is_zero(a)) return a;
    if (!take_denormals(a, a, status)) return a;
    const u128 fixed = shift_right_sticky(u128{a.significand} << 64, 63 - power);
    const u64 whole = static_cast<u64>(fixed >> 64);
    const u64 below = static_cast<u64>(fixed);
    const bool away = rounds_away(below, (whole & 1) != 0, a.sign(), status.rounding);
    status.raise(below != 0 ? kPrecision : 0);
    status.rounded_up = away;
    const u64 magnitude = whole + away; // at most 2^63
    if (magnitude == 0) return zero80(a.sign());
    const int shift = leading_zeros(magnitude);
    return pack80(a.sign(), F80::kBias + 63 - shift, magnitude << shift);
}

namespace {

// trunc(a) for a finite a, held within a range beyond which every result overflows or underflows.
int truncated_exponent(F80 a) {
    constexpr int kLimit = 0x10000;
    const int power = a.exponent() - F80::kBias;
    if (power < 0) return 0;
    const int magnitude = power >= 16 ? kLimit : static_cast<int>(a.significand >> (63 - power));
    return a.sign() ? -magnitude : magnitude;
}

} // namespace

F80 scale(F80 a, F80 b, Status& status) {
    if (is_unsupported(a) || is_unsupported(b)) return invalid80(status);
    if (is_nan(a) || is_nan(b)) return propagate_nan(a, b, status);
    if (is_infinity(b)) {
        if (b.sign() ? is_infinity(a) : is_zero(a)) return invalid80(status);
        if (!take_denormals(a, b, status)) return a;
        return b.sign() ? zero80(a.sign()) : infinity80(a.sign());
    }
    if (!take_denormals(a, b, status)) return a;
    if (is_infinity(a) || is_zero(a)) return a;
    const Unpacked80 u = unpack80(a);
    return round_and_pack_extended(u.sign, u.exponent + truncated_exponent(b), u.significand, 0, status);
}

Extracted extract(F80 a, Status& status) {
    if (is_unsupported(a)) {
        const F80 nan = invalid80(status);
        return {nan, nan};
    }
    if (is_nan(a)) {
        const F80 nan = propagate_nan(a, a, status);
        return {nan, nan};
    }
    if (is_infinity(a)) return {infinity80(false), a};
    if (is_zero(a)) {
        status.raise(kDivideByZero);
        return {infinity80(true), a};
    }
    if (!take_denormals(a, a, status)) return {a, a};
    const Unpacked80 u = unpack80(a);
    return {f80_from_int(u.exponent - F80::kBias), pack80(u.sign, F80::kBias, u.significand)};
}

namespace {

// How many quotient bits a partial remainder takes away. The manual leaves that to the implementation, from 32 to 63;
// AMD's leaves a distance that is a multiple of 32.
constexpr int partial_bits(int distance) { return 32 + (distance & 31); }

F80 deliver_remainder(bool sign, int exponent, u64 significand, Status& status) {
    if (significand == 0) return zero80(sign);
    const int shift = leading_zeros(significand);
    return round_and_pack_extended(sign, exponent - shift, significand << shift, 0, status);
}

Remainder remainder(F80 a, F80 b, bool to_nearest, Status& status) {
    if (is_unsupported(a) || is_unsupported(b)) return {invalid80(status), 0, true};
    if (is_nan(a) || is_nan(b)) return {propagate_nan(a, b, status), 0, true};
    if (is_infinity(a) || is_zero(b)) return {invalid80(status), 0, true};
    if (!take_denormals(a, b, status)) return {a, 0, true};
    if (is_zero(a)) return {a, 0, true};
    const Unpacked80 x = unpack80(a);
    if (is_infinity(b)) return {deliver_remainder(x.sign, x.exponent, x.significand, status), 0, true};
    const Unpacked80 y = unpack80(b);

    const int distance = x.exponent - y.exponent;
    if (distance >= 64) {
        const int bits = partial_bits(distance);
        const u64 rest = static_cast<u64>((u128{x.significand} << bits) % y.significand);
        return {deliver_remainder(x.sign, x.exponent - bits, rest, status), 0, false};
    }
    if (distance < -1 || (distance < 0 && !to_nearest))
        return {deliver_remainder(x.sign, x.exponent, x.significand, status), 0, true};

    // In units of y's last place, or half of it when x's exponent is one less.
    const int below = distance < 0;
    const u128 dividend = u128{x.significand} << (distance + below);
    const u128 divisor = u128{y.significand} << below;
    u64 quotient = static_cast<u64>(dividend / divisor);
    u128 rest = dividend - u128{quotient} * divisor;
    bool sign = x.sign;
    if (to_nearest && (rest * 2 > divisor || (rest * 2 == divisor && (quotient & 1)))) {
        rest = divisor - rest;
        sign = !sign;
        ++quotient;
    }
    if (rest == 0) sign = x.sign;
    return {deliver_remainder(sign, y.exponent - below, static_cast<u64>(rest), status),
            static_cast<unsigned>(quotient & 7), true};
}

} // namespace

Remainder remainder_truncated(F80 a, F80 b, Status& status) { return remainder(a, b, false, status); }
Remainder remainder_nearest(F80 a, F80 b, Status& status) { return remainder(a, b, true, status); }

} // namespace calque::cpu::fp
