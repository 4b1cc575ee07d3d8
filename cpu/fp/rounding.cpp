#include "cpu/fp/rounding.h"

namespace calque::cpu::fp {

namespace {

// SDM volume 1, table 4-10: the masked response to overflow, rounded to infinity or to the largest finite number.
template <class Float> Float overflowed(bool sign, Rounding rounding) {
    const bool to_infinity = rounding == Rounding::NearestEven || (rounding == Rounding::Up && !sign)
                             || (rounding == Rounding::Down && sign);
    if (to_infinity) return infinity<Float>(sign);
    return pack<Float>(sign, Format<Float>::kMaxExponent - 1, Format<Float>::kFraction);
}

} // namespace

template <class Float> Float round_and_pack_edge(bool sign, int exponent, u64 significand, Status& status) {
    using F = Format<Float>;
    constexpr int kShift = kLeadingBit - F::kFractionBits;
    constexpr u64 kMask = (u64{1} << kShift) - 1;
    const u64 increment = rounding_increment(significand, kShift, sign, status.rounding);
    const bool carries = ((significand + increment) >> 63) != 0;
    const bool inexact = (significand & kMask) != 0;

    if (exponent > 0) {
        if (exponent + carries >= F::kMaxExponent) {
            // With overflow unmasked the exponent is taken as unbounded, and only a rounded significand is inexact.
            status.raise(kOverflow | (inexact || !status.unmasked(kOverflow) ? kPrecision : 0));
            return overflowed<Float>(sign, status.rounding);
        }
        status.raise(inexact ? kPrecision : 0);
        return pack<Float>(sign, exponent - 1, (significand + increment) >> kShift);
    }

    // Tiny after rounding: smaller than the least normal even when rounded as if the exponent were unbounded.
    const bool tiny = exponent < 0 || !carries;
    if (tiny && status.unmasked(kUnderflow)) {
        // As with overflow, precision is judged with an unbounded exponent. The result is never delivered.
        status.raise(kUnderflow | (inexact ? kPrecision : 0));
        return zero<Float>(sign);
    }
    if (tiny && status.ftz) {
        status.raise(kUnderflow | kPrecision);
        return zero<Float>(sign);
    }
    const u64 denormal = shift_right_sticky(significand, 1 - exponent);
    const bool denormal_inexact = (denormal & kMask) != 0;
    if (denormal_inexact) status.raise(kPrecision | (tiny ? kUnderflow : 0));
    const u64 rounded = (denormal + rounding_increment(denormal, kShift, sign, status.rounding)) >> kShift;
    return pack<Float>(sign, 0, rounded); // a carry into the hidden bit makes exponent 1
}

template F16 round_and_pack_edge<F16>(bool, int, u64, Status&);
template F32 round_and_pack_edge<F32>(bool, int, u64, Status&);
template F64 round_and_pack_edge<F64>(bool, int, u64, Status&);

} // namespace calque::cpu::fp
