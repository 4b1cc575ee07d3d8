// Conversions between F80 and the memory formats of FLD, FST, FILD, FIST, FBLD and FBSTP.
#include "cpu/fp/f80_internal.h"
#include "cpu/fp/operands.h"

#include <limits>

namespace calque::cpu::fp {

namespace {

template <class Float> F80 widen(Float a) {
    using F = Format<Float>;
    const bool sign = sign_of(a);
    if (exponent_of(a) == F::kMaxExponent) {
        const u64 fraction = static_cast<u64>(a.bits & F::kFraction) << (63 - F::kFractionBits);
        return pack80(sign, F80::kMaxExponent, F80::kIntegerBit | fraction);
    }
    if (is_zero(a)) return zero80(sign);
    const Unpacked u = unpack_finite(a);
    return pack80(sign, u.exponent + F80::kBias - F::kBias, u.significand << 1);
}

template <class Float> F80 load(Float a, Status& status) {
    if (is_signaling_nan(a)) {
        status.raise(kInvalid);
        return quieted(widen(a));
    }
    if (is_denormal(a)) status.raise(kDenormal);
    return widen(a);
}

template <class Float> F80 load_operand(Float a, Status& status) {
    status.denormal_source = is_denormal(a);
    return widen(a);
}

template <class Float> Float store(F80 a, Status& status) {
    using F = Format<Float>;
    if (is_unsupported(a)) return invalid_operation<Float>(status);
    if (is_nan(a)) {
        if (is_signaling_nan(a)) status.raise(kInvalid);
        return quieted(pack<Float>(a.sign(), F::kMaxExponent, (a.significand << 1) >> (64 - F::kFractionBits)));
    }
    if (is_infinity(a)) return infinity<Float>(a.sign());
    if (is_zero(a)) return zero<Float>(a.sign());
    const Unpacked80 u = unpack80(a);
    const u64 significand = (u.significand >> 1) | (u.significand & 1);
    const Float result = round_and_pack<Float>(u.sign, u.exponent - F80::kBias + F::kBias, significand, status);
    if (!status.writes_memory()) {
        status.flags &= static_cast<u8>(~kPrecision); // nothing was rounded, as nothing is stored
    } else if ((status.flags & kPrecision) && !is_zero(result)) {
        // Rounded up when the magnitude grew: the result widens back without loss.
        const F80 back = widen(result);
        const int exponent = back.exponent();
        status.rounded_up = exponent != u.exponent ? exponent > u.exponent : back.significand > u.significand;
    }
    return result;
}

template <class Int> Int store_integer(F80 a, Rounding rounding, Status& status) {
    constexpr int kTopBit = sizeof(Int) * 8 - 1;
    constexpr Int kIndefinite = std::numeric_limits<Int>::min();
    const int power = a.exponent() - F80::kBias;
    if (power > kTopBit || is_unsupported(a)) {
        status.raise(kInvalid);
        return kIndefinite;
    }
    // At most 2^64: the integer part, and below it what decides the rounding.
    const u128 fixed = shift_right_sticky(u128{a.significand} << 64, a.exponent() == 0 ? 127 : 63 - power);
    const u64 whole = static_cast<u64>(fixed >> 64);
    const u64 below = static_cast<u64>(fixed);
    const bool away = rounds_away(below, (whole & 1) != 0, a.sign(), rounding);
    const u64 magnitude = whole + away;
    if (magnitude > (u64{1} << kTopBit) - !a.sign()) {
        status.raise(kInvalid);
        return kIndefinite;
    }
    status.raise(below != 0 ? kPrecision : 0);
    status.rounded_up = away;
    return static_cast<Int>(a.sign() ? u64{0} - magnitude : magnitude);
}

constexpr u64 kBcdLimit = 1000000000000000000; // 10^18

} // namespace

F80 to_f80(F32 a, Status& status) { return load(a, status); }
F80 to_f80(F64 a, Status& status) { return load(a, status); }
F80 widen_operand(F32 a, Status& status) { return load_operand(a, status); }
F80 widen_operand(F64 a, Status& status) { return load_operand(a, status); }
F32 to_f32(F80 a, Status& status) { return store<F32>(a, status); }
F64 to_f64(F80 a, Status& status) { return store<F64>(a, status); }

std::int16_t to_i16(F80 a, Rounding rounding, Status& status) {
    return store_integer<std::int16_t>(a, rounding, status);
}
std::int32_t to_i32(F80 a, Rounding rounding, Status& status) {
    return store_integer<std::int32_t>(a, rounding, status);
}
std::int64_t to_i64(F80 a, Rounding rounding, Status& status) {
    return store_integer<std::int64_t>(a, rounding, status);
}

F80 f80_from_int(std::int64_t value) {
    if (value == 0) return zero80(false);
    const u64 magnitude = value < 0 ? u64{0} - static_cast<u64>(value) : static_cast<u64>(value);
    const int shift = leading_zeros(magnitude);
    return pack80(value < 0, F80::kBias + 63 - shift, magnitude << shift);
}

F80 f80_from_bcd(const PackedBcd& bcd) {
    u64 magnitude = 0;
    for (int i = 8; i >= 0; --i)
        magnitude = magnitude * 100 + (bcd.bytes[i] >> 4) * 10u + (bcd.bytes[i] & 15);
    F80 result = f80_from_int(static_cast<std::int64_t>(magnitude)); // at most 15 * 1.1e17
    if (bcd.bytes[9] & 0x80) result.sign_exponent |= 0x8000;
    return result;
}

PackedBcd to_bcd(F80 a, Status& status) {
    constexpr PackedBcd kIndefinite = {{0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff}};
    Status own = status;
    const std::int64_t value = to_i64(a, status.rounding, own);
    const u64 magnitude = value < 0 ? u64{0} - static_cast<u64>(value) : static_cast<u64>(value);
    if ((own.flags & kInvalid) || magnitude >= kBcdLimit) {
        status.raise(kInvalid);
        return kIndefinite;
    }
    status.raise(own.flags);
    status.rounded_up = own.rounded_up;
    PackedBcd result = {};
    u64 rest = magnitude;
    for (int i = 0; i < 9; ++i, rest /= 100)
        result.bytes[i] = static_cast<u8>((rest / 10 % 10) << 4 | rest % 10);
    result.bytes[9] = a.sign() ? 0x80 : 0;
    return result;
}

} // namespace calque::cpu::fp
