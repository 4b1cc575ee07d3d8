// Bit-field helpers.
#pragma once

#include "base/types.h"

namespace calque {

// A mask of the n lowest bits, n from 0 to 64.
constexpr u64 low_mask(unsigned n) { return n >= 64 ? ~u64{0} : (u64{1} << n) - 1; }
// The field of `count` bits that starts at bit `first`.
constexpr u64 bits(u64 value, unsigned first, unsigned count) { return (value >> first) & low_mask(count); }
constexpr bool bit(u64 value, unsigned n) { return (value >> n) & 1; }
// `value` with the field of `count` bits at `first` replaced by `field`.
constexpr u64 with_bits(u64 value, unsigned first, unsigned count, u64 field) {
    const u64 mask = low_mask(count) << first;
    return (value & ~mask) | ((field << first) & mask);
}
// The lowest `width` bits of `value`, sign-extended to 64 (width from 1 to 64).
constexpr u64 sign_extend(u64 value, unsigned width) {
    return static_cast<u64>(static_cast<i64>(value << (64 - width)) >> (64 - width));
}
constexpr u64 align_down(u64 value, u64 alignment) { return value & ~(alignment - 1); }
constexpr u64 align_up(u64 value, u64 alignment) { return (value + alignment - 1) & ~(alignment - 1); }

} // namespace calque
