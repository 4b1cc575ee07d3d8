// The XSAVE area and its legacy part, which FXSAVE shares (SDM volume 1, 13.4; volume 2, table 3-43).
#pragma once

#include "cpu/simd/operand.h"

#include <algorithm>

namespace calque::cpu::simd {

inline constexpr u64 xstate_x87 = 1u << 0, xstate_sse = 1u << 1, xstate_avx = 1u << 2, xstate_pkru = 1u << 9;
inline constexpr u64 xcomp_compacted = u64{1} << 63;
inline constexpr u64 mxcsr_offset = 24, st_offset = 32, xmm_offset = 160, header_offset = 512, extended_offset = 576;
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

// The x87 part: control, status and abridged tag words, opcode, pointers (64 bits with REX.W), ST0 to ST7. The caller
// has probed the area.
[[nodiscard]] inline bool save_x87(Cpu& cpu, const Instruction& i, u64 base) {
    const X87State& x = cpu.state.x87;
    const unsigned seg = i.segment();
    const u64 words = x.control | u64{x.status} << 16 | u64{x.valid} << 32 | u64{x.opcode} << 48;
    const bool wide = i.flags & insn_rex_w;
    const u64 ip =
        wide ? x.instruction_pointer : static_cast<u32>(x.instruction_pointer) | u64{x.instruction_selector} << 32;
    const u64 dp = wide ? x.data_pointer : static_cast<u32>(x.data_pointer) | u64{x.data_selector} << 32;
    if (!cpu.write(seg, base, words) || !cpu.write(seg, base + 8, ip) || !cpu.write(seg, base + 16, dp)) return false;
    for (unsigned n = 0; n < 8; ++n) {
        const X87Register& r = x.reg[(x.top() + n) & 7];
        if (!cpu.write(seg, base + st_offset + 16 * n, Vec<16>{{r.significand, r.sign_exponent}})) return false;
    }
    return true;
}
[[nodiscard]] inline bool load_x87(Cpu& cpu, const Instruction& i, u64 base, X87State& x) {
    const unsigned seg = i.segment();
    u64 words, ip, dp;
    if (!cpu.read(seg, base, words) || !cpu.read(seg, base + 8, ip) || !cpu.read(seg, base + 16, dp)) return false;
    x.control = static_cast<u16>((words & 0x1F3F) | 0x40);
    x.status = static_cast<u16>(words >> 16);
    // ES and B follow from the exceptions that are unmasked, whatever the image says.
    const bool pending = x.status & ~x.control & 0x3F;
    x.status = static_cast<u16>((x.status & ~0x8080) | (pending ? 0x8080 : 0));
    x.valid = static_cast<u8>(words >> 32);
    x.opcode = static_cast<u16>(words >> 48 & 0x7FF);
    const bool wide = i.flags & insn_rex_w;
    x.instruction_pointer = wide ? ip : static_cast<u32>(ip);
    x.instruction_selector = wide ? 0 : static_cast<u16>(ip >> 32);
    x.data_pointer = wide ? dp : static_cast<u32>(dp);
    x.data_selector = wide ? 0 : static_cast<u16>(dp >> 32);
    for (unsigned n = 0; n < 8; ++n) {
        Vec<16> v;
        if (!cpu.read(seg, base + st_offset + 16 * n, v)) return false;
        x.reg[(x.top() + n) & 7] = {v.q[0], static_cast<u16>(v.q[1])};
    }
    return true;
}
[[nodiscard]] inline bool save_xmm(Cpu& cpu, const Instruction& i, u64 base) {
    const unsigned count = i.mode64() ? 16 : 8;
    for (unsigned n = 0; n < count; ++n)
        if (!cpu.write(i.segment(), base + xmm_offset + 16 * n, get<Vec<16>, Encoding::sse>(cpu, n))) return false;
    return true;
}

} // namespace calque::cpu::simd
