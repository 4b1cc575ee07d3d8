// Debug register bits (SDM volume 3, 17.2).
#pragma once

#include "base/types.h"

namespace calque::cpu {

inline constexpr u64 dr6_breakpoints = 0xF, dr6_bd = 1u << 13, dr6_bs = 1u << 14, dr6_bt = 1u << 15;
inline constexpr u64 dr6_writable = dr6_breakpoints | dr6_bd | dr6_bs | dr6_bt, dr6_ones = 0xFFFF0FF0;
inline constexpr u64 dr7_enables = 0xFF, dr7_locals = 0x155, dr7_gd = 1u << 13, dr7_ones = 0x400;
inline constexpr u64 dr7_writable = 0xFFFF23FF; // Bits 11, 12, 14 and 15 are fixed at zero.
inline constexpr u64 debugctl_lbr = 1u << 0, debugctl_btf = 1u << 1;

} // namespace calque::cpu
