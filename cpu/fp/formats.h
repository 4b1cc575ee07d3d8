// The floating point formats that x86 computes with, as bit patterns. IEEE 754-2008 section 3.4; Intel SDM volume 1,
// section 4.2.2 and, for the 80-bit format with its explicit integer bit, table 8-3.
#pragma once

#include "cpu/fp/status.h"

namespace calque::cpu::fp {

struct F16 {
    u16 bits = 0;
    friend bool operator==(F16, F16) = default; // compares encodings, not values
};

struct F32 {
    u32 bits = 0;
    friend bool operator==(F32, F32) = default;
};

struct F64 {
    u64 bits = 0;
    friend bool operator==(F64, F64) = default;
};

// The x87 register format: 1 sign, 15 exponent and 64 significand bits, of which the top one is the integer bit.
struct F80 {
    u64 significand = 0;
    u16 sign_exponent = 0;
    friend bool operator==(F80, F80) = default;

    static constexpr u16 kMaxExponent = 0x7fff;
    static constexpr int kBias = 16383;
    static constexpr u64 kIntegerBit = u64{1} << 63;
    static constexpr u64 kQuietBit = u64{1} << 62;
    constexpr bool sign() const { return (sign_exponent & 0x8000) != 0; }
    constexpr int exponent() const { return sign_exponent & 0x7fff; }
};

// What the templates over F16, F32 and F64 need to know of a format.
template <class Float> struct Format;

template <class BitsType, int ExponentBits, int FractionBits> struct InterchangeFormat {
    using Bits = BitsType;
    static constexpr int kExponentBits = ExponentBits;
    static constexpr int kFractionBits = FractionBits;
    static constexpr int kBias = (1 << (ExponentBits - 1)) - 1;
    static constexpr int kMaxExponent = (1 << ExponentBits) - 1; // that of infinities and NaNs
    static constexpr Bits kSign = static_cast<Bits>(Bits{1} << (ExponentBits + FractionBits));
    static constexpr Bits kHidden = static_cast<Bits>(Bits{1} << FractionBits);
    static constexpr Bits kFraction = static_cast<Bits>(kHidden - 1);
    static constexpr Bits kInfinity = static_cast<Bits>(Bits{kMaxExponent} << FractionBits);
    static constexpr Bits kQuiet = static_cast<Bits>(Bits{1} << (FractionBits - 1));
    static constexpr Bits kDefaultNan =
        static_cast<Bits>(kSign | kInfinity | kQuiet); // "QNaN floating-point indefinite"
};

template <> struct Format<F16> : InterchangeFormat<u16, 5, 10> {};
template <> struct Format<F32> : InterchangeFormat<u32, 8, 23> {};
template <> struct Format<F64> : InterchangeFormat<u64, 11, 52> {};

inline constexpr F32 kDefaultNan32{Format<F32>::kDefaultNan};
inline constexpr F64 kDefaultNan64{Format<F64>::kDefaultNan};
inline constexpr F80 kDefaultNan80{0xc000000000000000, 0xffff};

template <class Float> constexpr bool is_nan(Float a) {
    using F = Format<Float>;
    return static_cast<typename F::Bits>(a.bits & ~F::kSign) > F::kInfinity;
}
template <class Float> constexpr bool is_signaling_nan(Float a) {
    return is_nan(a) && !(a.bits & Format<Float>::kQuiet);
}
template <class Float> constexpr bool is_infinity(Float a) {
    using F = Format<Float>;
    return static_cast<typename F::Bits>(a.bits & ~F::kSign) == F::kInfinity;
}
template <class Float> constexpr bool is_zero(Float a) {
    return static_cast<typename Format<Float>::Bits>(a.bits & ~Format<Float>::kSign) == 0;
}
template <class Float> constexpr bool is_denormal(Float a) {
    using F = Format<Float>;
    return !(a.bits & F::kInfinity) && (a.bits & F::kFraction);
}
template <class Float> constexpr bool sign_of(Float a) { return (a.bits & Format<Float>::kSign) != 0; }
template <class Float> constexpr int exponent_of(Float a) {
    return static_cast<int>((a.bits & Format<Float>::kInfinity) >> Format<Float>::kFractionBits);
}
template <class Float> constexpr Float quieted(Float a) {
    return Float{static_cast<typename Format<Float>::Bits>(a.bits | Format<Float>::kQuiet)};
}

} // namespace calque::cpu::fp
