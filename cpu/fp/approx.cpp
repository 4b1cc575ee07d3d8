#include "cpu/fp/approx.h"

#include "cpu/fp/rounding.h"

namespace calque::cpu::fp {

namespace {

struct BipartiteTable {
    u16 base[256];
    u8 slope[256];

    // The result's fraction for the operand's fraction.
    constexpr u32 fraction(u32 bits) const {
        const u32 index = (bits >> 11) & 0xfff;
        return static_cast<u32>(base[index >> 4] - slope[(index >> 4 & 0xf0) | (index & 0xf)]) << 11;
    }
};

#include "cpu/fp/approx_tables.inc"

} // namespace

F32 reciprocal_approximation(F32 a) {
    if (is_nan(a)) return quieted(a);
    if (is_infinity(a)) return zero<F32>(sign_of(a));
    if (exponent_of(a) == 0) return infinity<F32>(sign_of(a));
    // 1.x maps to an exponent of 126, one below that of 1.
    const int exponent = 253 - exponent_of(a);
    if (exponent <= 0) return zero<F32>(sign_of(a));
    return pack<F32>(sign_of(a), exponent, kReciprocal.fraction(a.bits));
}

F32 reciprocal_sqrt_approximation(F32 a) {
    if (is_nan(a)) return quieted(a);
    if (exponent_of(a) == 0) return infinity<F32>(sign_of(a));
    if (sign_of(a)) return kDefaultNan32;
    if (is_infinity(a)) return zero<F32>(false);
    // Two operand exponents share a result exponent; the odd one of them (127) stands for 1.x, the even one (128) for 2
    // * 1.x.
    const bool odd = (exponent_of(a) & 1) != 0;
    const int exponent = 126 + (odd ? 127 - exponent_of(a) : 128 - exponent_of(a)) / 2;
    return pack<F32>(false, exponent, (odd ? kRootOdd : kRootEven).fraction(a.bits));
}

} // namespace calque::cpu::fp
