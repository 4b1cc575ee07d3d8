// Canonical addresses: with 4-level paging, bits 63:47 are all alike (SDM volume 1, 3.3.7.1).
#pragma once

#include "base/bits.h"
#include "base/types.h"

namespace calque::cpu {

inline constexpr unsigned linear_address_bits = 48;

constexpr bool is_canonical(u64 address) { return sign_extend(address, linear_address_bits) == address; }

} // namespace calque::cpu
