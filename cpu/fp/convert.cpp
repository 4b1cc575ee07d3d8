#include "cpu/fp/convert.h"

#include "cpu/fp/operands.h"

#include <limits>

namespace calque::cpu::fp {

namespace {

// A NaN of another format: sign and the top fraction bits are kept, the rest is cut off or filled with zeros, and it is
// made quiet.
template <class To, class From> inline To convert_nan(From a, Status& status) {
    if (is_signaling_nan(a)) status.raise(kInvalid);
    const u64 fraction = static_cast<u64>(a.bits & Format<From>::kFraction) << (63 - Format<From>::kFractionBits);
    return quieted(pack<To>(sign_of(a), Format<To>::kMaxExponent, fraction >> (63 - Format<To>::kFractionBits)));
}

// To a wider format: always exact.
template <class To, class From> inline To widen(From a) {
    constexpr int kBiasDifference = Format<To>::kBias - Format<From>::kBias;
    const Unpacked u = unpack_finite(a);
    if (u.significand == 0) return zero<To>(u.sign);
    return pack<To>(u.sign, u.exponent + kBiasDifference - 1,
                    u.significand >> (kLeadingBit - Format<To>::kFractionBits));
}

template <class To, class From> inline To narrow(From a, Status& status) {
    if (is_nan(a)) return convert_nan<To>(a, status);
    if (is_infinity(a)) return infinity<To>(sign_of(a));
    take_denormal(a, status);
    if (is_zero(a)) return zero<To>(sign_of(a));
    const Unpacked u = unpack_finite(a);
    return round_and_pack<To>(u.sign, u.exponent + Format<To>::kBias - Format<From>::kBias, u.significand, status);
}

template <class Int> inline Int invalid_integer(Status& status) {
    status.raise(kInvalid);
    return std::numeric_limits<Int>::min();
}

template <class Int, class Float> inline Int to_integer(Float a, Rounding rounding, Status& status) {
    using F = Format<Float>;
    a = denormal_as_zero(a, status);
    const bool sign = sign_of(a);
    const int power = exponent_of(a) - F::kBias; // of the leading one
    constexpr int kTopBit = sizeof(Int) * 8 - 1;
    if (power > kTopBit) return invalid_integer<Int>(status);
    if (is_zero(a)) return 0;
    u64 magnitude;
    bool inexact = false;
    if (power >= F::kFractionBits) {
        magnitude = static_cast<u64>((a.bits & F::kFraction) | F::kHidden) << (power - F::kFractionBits);
    } else {
        // Below one half only its being there matters: power -2 and everything smaller round alike.
        const int shift = F::kFractionBits - (power < -2 ? -2 : power);
        const u64 significand = static_cast<u64>((a.bits & F::kFraction) | F::kHidden);
        inexact = (significand & ((u64{1} << shift) - 1)) != 0;
        magnitude = (significand + rounding_increment(significand, shift, sign, rounding)) >> shift;
    }
    if (magnitude > (u64{1} << kTopBit) - !sign) return invalid_integer<Int>(status);
    if (inexact) status.raise(kPrecision);
    return static_cast<Int>(sign ? u64{0} - magnitude : magnitude);
}

template <class Float> inline Float from_integer(std::int64_t value, Status& status) {
    if (value == 0) return zero<Float>(false);
    const bool sign = value < 0;
    const u64 magnitude = sign ? u64{0} - static_cast<u64>(value) : static_cast<u64>(value);
    return normalize_round_and_pack<Float>(sign, Format<Float>::kBias + kLeadingBit, magnitude, status);
}

} // namespace

F64 to_f64(F32 a, Status& status) {
    if (is_nan(a)) return convert_nan<F64>(a, status);
    if (is_infinity(a)) return infinity<F64>(sign_of(a));
    take_denormal(a, status);
    return widen<F64>(a);
}

F32 to_f32(F64 a, Status& status) { return narrow<F32>(a, status); }

F32 to_f32(F16 a, Status& status) {
    if (is_nan(a)) return convert_nan<F32>(a, status);
    if (is_infinity(a)) return infinity<F32>(sign_of(a));
    return widen<F32>(a);
}

F16 to_f16(F32 a, Rounding rounding, Status& status) {
    Status own = status;
    own.rounding = rounding;
    own.ftz = false;
    const F16 result = narrow<F16>(a, own);
    status.raise(own.flags);
    return result;
}

std::int32_t to_i32(F32 a, Rounding rounding, Status& status) { return to_integer<std::int32_t>(a, rounding, status); }
std::int32_t to_i32(F64 a, Rounding rounding, Status& status) { return to_integer<std::int32_t>(a, rounding, status); }
std::int64_t to_i64(F32 a, Rounding rounding, Status& status) { return to_integer<std::int64_t>(a, rounding, status); }
std::int64_t to_i64(F64 a, Rounding rounding, Status& status) { return to_integer<std::int64_t>(a, rounding, status); }

F32 f32_from_int(std::int64_t value, Status& status) { return from_integer<F32>(value, status); }
F64 f64_from_int(std::int64_t value, Status& status) { return from_integer<F64>(value, status); }

} // namespace calque::cpu::fp
