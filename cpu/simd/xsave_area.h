// The XSAVE area and its legacy part, which FXSAVE shares (SDM volume 1, 13.4; volume 2, table 3-43).
#pragma once

#include "cpu/simd/operand.h"

#include <algorithm>

namespace calque::cpu::simd {

inline constexpr u64 xstate_x87 = 1u << 0, xstate_sse = 1u << 1, xstate_avx = 1u << 2, xstate_pkru = 1u << 9;
inline constexpr u64 xcomp_compacted = u64{1} << 63;
inline constexpr u64 mxcsr_offset = 24, xmm_offset = 160, header_offset = 512, extended_offset = 576;
// As CPUID leaf 0Dh tells them, in the standard format.
inline constexpr u64 avx_offset = 576, avx_size = 256, pkru_offset = 2688;
inline constexpr u32 initial_mxcsr = 0x1F80, mxcsr_mask = 0xFFFF;

// What FNINIT leaves: the initial configuration of the x87 component.
inline X87State initial_x87() {
    X87State s;
    s.control = 0x037F;
    return s;
}
inline bool same_x87(const X87State& a, const X87State& b) {
    for (unsigned n = 0; n < 8; ++n)
        if (a.reg[n].significand != b.reg[n].significand || a.reg[n].sign_exponent != b.reg[n].sign_exponent)
            return false;
    return a.control == b.control && a.status == b.status && a.valid == b.valid && a.opcode == b.opcode
           && a.instruction_pointer == b.instruction_pointer && a.data_pointer == b.data_pointer
           && a.instruction_selector == b.instruction_selector && a.data_selector == b.data_selector;
}

[[nodiscard]] inline bool save_xmm(Cpu& cpu, const Instruction& i, u64 base) {
    const unsigned count = i.mode64() ? 16 : 8;
    for (unsigned n = 0; n < count; ++n)
        if (!cpu.write(i.segment(), base + xmm_offset + 16 * n, get<Vec<16>, Encoding::sse>(cpu, n))) return false;
    return true;
}

} // namespace calque::cpu::simd
