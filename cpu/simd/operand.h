// Where vector operands come from and go to: MMX, XMM and YMM registers, and memory.
#pragma once

#include "cpu/cpu.h"
#include "cpu/simd/vec.h"
#include "cpu/x87/stack.h"

#include <cstring>

namespace calque::cpu::simd {

// How an instruction is encoded decides what it may raise, whether memory must be aligned, and what becomes of the
// upper half.
enum class Encoding : u8 {
    mmx, // 64-bit registers, aliased to the x87 stack.
    sse, // Legacy: 128 bits, memory aligned to 16, the upper half of the YMM register stays.
    vex, // VEX: memory unaligned, everything above the operation's width becomes zero.
};

// #UD or #NM if the state is not to be used now. True: raised.
template <Encoding E> inline bool unavailable(Cpu& cpu) {
    const u8 vector = E == Encoding::mmx   ? cpu.mode.mmx_fault
                      : E == Encoding::sse ? cpu.mode.sse_fault
                                           : cpu.mode.avx_fault;
    if (vector == 0) [[likely]]
        return false;
    cpu.raise(static_cast<Vector>(vector));
    return true;
}

// What every MMX instruction but EMMS does first: as an x87 instruction it waits for a pending exception (true: it ends
// with `flow`), then all registers become valid and TOP zero (SDM volume 1, 9.5.1).
inline bool mmx_stopped(Cpu& cpu, Flow& flow) {
    if (!(cpu.state.x87.status & x87::fsw_es)) [[likely]]
        return false;
    return x87::stopped_by_error(cpu, flow);
}
inline void mmx_touch(Cpu& cpu) {
    cpu.state.x87.set_top(0);
    cpu.state.x87.valid = 0xFF;
}

inline u64 mmx_get(const Cpu& cpu, unsigned n) { return cpu.state.x87.reg[n & 7].significand; }
inline void mmx_put(Cpu& cpu, unsigned n, u64 value) { cpu.state.x87.reg[n & 7] = {value, 0xFFFF}; }

template <class V, Encoding E> inline V get(const Cpu& cpu, unsigned n) {
    V v;
    if constexpr (E == Encoding::mmx)
        v.q[0] = mmx_get(cpu, n);
    else
        std::memcpy(v.q.data(), cpu.state.vector[n & 15].q, V::bytes);
    return v;
}
template <Encoding E, class V> inline void put(Cpu& cpu, unsigned n, const V& value) {
    if constexpr (E == Encoding::mmx) {
        mmx_put(cpu, n, value.q[0]);
    } else {
        VectorRegister& reg = cpu.state.vector[n & 15];
        if constexpr (E == Encoding::vex) reg = VectorRegister{};
        std::memcpy(reg.q, value.q.data(), V::bytes);
    }
}

// A vector from memory. Aligned: #GP(0) unless the linear address is a multiple of the vector's size.
template <bool Aligned, class V> [[nodiscard]] inline bool load(Cpu& cpu, const Instruction& i, V& out) {
    const u64 offset = effective_address(cpu.state, i);
    if constexpr (Aligned) {
        LinearAddress address;
        if (!cpu.linear(i.segment(), offset, V::bytes, mmu::Access::read, address)) return false;
        if (address.value & (V::bytes - 1)) {
            cpu.general_protection();
            return false;
        }
    }
    return cpu.read(i.segment(), offset, out);
}
template <bool Aligned, class V> [[nodiscard]] inline bool store(Cpu& cpu, const Instruction& i, const V& value) {
    const u64 offset = effective_address(cpu.state, i);
    if constexpr (Aligned) {
        LinearAddress address;
        if (!cpu.linear(i.segment(), offset, V::bytes, mmu::Access::write, address)) return false;
        if (address.value & (V::bytes - 1)) {
            cpu.general_protection();
            return false;
        }
    }
    return cpu.write(i.segment(), offset, value);
}

// The last operand, register `n` or memory.
template <class V, Encoding E, bool Memory>
[[nodiscard]] inline bool source(Cpu& cpu, const Instruction& i, unsigned n, V& out) {
    if constexpr (Memory) return load < E == Encoding::sse && V::bytes == 16 > (cpu, i, out);
    out = get<V, E>(cpu, n);
    return true;
}

} // namespace calque::cpu::simd
