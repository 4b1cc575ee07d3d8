#include "cpu/fp/f80_internal.h"

namespace calque::cpu::fp {

namespace {

constexpr int kExponentWrap = 24576; // SDM volume 1, sections 8.5.4 and 8.5.5

struct Rounded {
    u64 significand;
    bool carry; // the significand ran over to 1.0 of the next binade
    bool inexact;
    bool away;
};

// Rounds to the significand's bits above `dropped` (0, 11 or 40).
Rounded round_significand(bool sign, u64 significand, u64 fraction, int dropped, Rounding rounding) {
    u64 below = fraction;
    if (dropped != 0) {
        below = significand << (64 - dropped) | (fraction != 0);
        significand &= ~u64{0} << dropped;
    }
    const bool away = rounds_away(below, ((significand >> dropped) & 1) != 0, sign, rounding);
    u64 rounded = significand + (u64{away} << dropped);
    const bool carry = away && rounded < significand;
    if (carry) rounded = F80::kIntegerBit;
    return {rounded, carry, below != 0, away};
}

F80 deliver(bool sign, int exponent, const Rounded& rounded, unsigned flags, Status& status) {
    status.raise(flags | (rounded.inexact ? kPrecision : 0));
    status.rounded_up = rounded.away;
    return pack80(sign, exponent, rounded.significand);
}

F80 overflow(bool sign, int exponent, const Rounded& rounded, int dropped, Status& status) {
    if (status.unmasked(kOverflow)) {
        exponent -= kExponentWrap;
        if (exponent < F80::kMaxExponent) return deliver(sign, exponent, rounded, kOverflow, status);
        // FSCALE can overflow even the wrapped exponent: infinity, whatever the rounding (SDM volume 1, section 8.5.4).
        status.raise(kOverflow | kPrecision);
        status.rounded_up = true;
        return infinity80(sign);
    }
    status.raise(kOverflow | kPrecision);
    status.rounded_up = status.rounding == Rounding::NearestEven || (status.rounding == Rounding::Up && !sign)
                        || (status.rounding == Rounding::Down && sign);
    if (status.rounded_up) return infinity80(sign);
    return pack80(sign, F80::kMaxExponent - 1, ~u64{0} << dropped);
}

F80 underflow(bool sign, int exponent, u64 significand, u64 fraction, const Rounded& unbounded, int dropped,
              Status& status) {
    const int carried = exponent + unbounded.carry;
    const bool tiny = carried <= 0;
    if (tiny && status.unmasked(kUnderflow)) {
        if (carried + kExponentWrap > 0) return deliver(sign, carried + kExponentWrap, unbounded, kUnderflow, status);
        status.raise(kUnderflow | kPrecision); // FSCALE, as above: zero
        return zero80(sign);
    }
    const u128 wide = shift_right_sticky(u128{significand} << 64 | fraction, 1 - exponent);
    const Rounded rounded =
        round_significand(sign, static_cast<u64>(wide >> 64), static_cast<u64>(wide), dropped, status.rounding);
    const bool reported = tiny && rounded.inexact;
    // A denormal that rounds up into the integer bit is the least normal number.
    const bool normal = (rounded.significand & F80::kIntegerBit) != 0;
    return deliver(sign, normal, rounded, reported ? kUnderflow : 0, status);
}

F80 round_to(bool sign, int exponent, u64 significand, u64 fraction, int dropped, Status& status) {
    const Rounded rounded = round_significand(sign, significand, fraction, dropped, status.rounding);
    if (exponent <= 0) [[unlikely]]
        return underflow(sign, exponent, significand, fraction, rounded, dropped, status);
    exponent += rounded.carry;
    if (exponent >= F80::kMaxExponent) [[unlikely]]
        return overflow(sign, exponent, rounded, dropped, status);
    return deliver(sign, exponent, rounded, 0, status);
}

} // namespace

F80 round_and_pack80_edge(bool sign, int exponent, u64 significand, u64 fraction, Status& status) {
    switch (status.precision) {
    case Precision::Single: return round_to(sign, exponent, significand, fraction, 40, status);
    case Precision::Double: return round_to(sign, exponent, significand, fraction, 11, status);
    case Precision::Reserved:
    case Precision::Extended: break;
    }
    return round_to(sign, exponent, significand, fraction, 0, status);
}

F80 round_and_pack_extended(bool sign, int exponent, u64 significand, u64 fraction, Status& status) {
    return round_to(sign, exponent, significand, fraction, 0, status);
}

} // namespace calque::cpu::fp
