// The x87 state as instructions see it whole: its memory images.
#pragma once

#include "cpu/cpu.h"

#include <array>

namespace calque::cpu::x87 {

// FNINIT.
void initialize(Cpu& cpu);

// The 512-byte area of FXSAVE, whose first part XSAVE has too (SDM volume 1, 10.5.1 and 13.5).
using LegacyArea = std::array<u8, 512>;
inline constexpr std::size_t legacy_mxcsr = 24, legacy_mxcsr_mask = 28, legacy_registers = 32, legacy_xmm = 160;
inline constexpr std::size_t legacy_x87_bytes = 24; // FCW to FDP and FDS; then MXCSR, then the registers.

inline constexpr u32 mxcsr_mask = 0xFFFF; // The bits that MXCSR has.

// The x87 part: bytes 0 to 23 and 32 to 159. `wide`: 64-bit instruction and data pointers (REX.W) in place of 32-bit
// ones with selectors.
void save_x87(const Cpu& cpu, bool wide, LegacyArea& area);
void load_x87(Cpu& cpu, bool wide, const LegacyArea& area);

void save_mxcsr(u32 mxcsr, LegacyArea& area); // And the mask of the bits that it has.

// The first `count` XMM registers, 16 bytes each.
using VectorRegisters = std::array<VectorRegister, 16>;
void save_xmm(const VectorRegisters& registers, unsigned count, LegacyArea& area);
void load_xmm(VectorRegisters& registers, unsigned count, const LegacyArea& area);

} // namespace calque::cpu::x87
