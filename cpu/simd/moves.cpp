// Moves between vector registers, memory and general registers, without a change of what is moved.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

template <class V, Encoding E> Flow register_move(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    put<E>(cpu, i.dest, get<V, E>(cpu, i.source));
    return Flow::next;
}
template <class V, Encoding E, bool Aligned> Flow load_move(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    V v;
    if (!load<Aligned>(cpu, i, v)) return Flow::fault;
    put<E>(cpu, i.dest, v);
    return Flow::next;
}
template <class V, Encoding E, bool Aligned> Flow store_move(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    return store<Aligned>(cpu, i, get<V, E>(cpu, i.source)) ? Flow::next : Flow::fault;
}

// Whole vectors: registers, loads, stores.
template <bool Aligned> Handler whole_move(const Form& f) {
    const bool load_form = f.memory(1), store_form = f.memory(0);
    if (is_ymm(f))
        return load_form    ? threaded<load_move<Vec<32>, Encoding::vex, Aligned>>
               : store_form ? threaded<store_move<Vec<32>, Encoding::vex, Aligned>>
                            : threaded<register_move<Vec<32>, Encoding::vex>>;
    if (is_vex(f))
        return load_form    ? threaded<load_move<Vec<16>, Encoding::vex, Aligned>>
               : store_form ? threaded<store_move<Vec<16>, Encoding::vex, Aligned>>
                            : threaded<register_move<Vec<16>, Encoding::vex>>;
    return load_form    ? threaded<load_move<Vec<16>, Encoding::sse, Aligned>>
           : store_form ? threaded<store_move<Vec<16>, Encoding::sse, Aligned>>
                        : threaded<register_move<Vec<16>, Encoding::sse>>;
}

// A scalar of type T from memory into the low lane: what lies above becomes zero, in both encodings (up to bit 127 in
// the legacy one).
template <class T, Encoding E> Flow load_scalar(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    T value;
    if (!cpu.read_operand(i, value)) return Flow::fault;
    put<E>(cpu, i.dest, Vec<16>{{value, 0}});
    return Flow::next;
}
template <class T, Encoding E> Flow store_scalar(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    return cpu.write_operand(i, static_cast<T>(get<Vec<16>, E>(cpu, i.source).q[0])) ? Flow::next : Flow::fault;
}
// MOVSS, MOVSD between registers: only the low lane changes; VEX takes the rest from the first source.
template <class T, Encoding E> Flow merge_scalar(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    Vec<16> r = get<Vec<16>, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    const Vec<16> b = get<Vec<16>, E>(cpu, E == Encoding::vex ? i.third : i.source);
    constexpr u64 mask = sizeof(T) == 8 ? ~u64{0} : 0xFFFFFFFF;
    r.q[0] = (r.q[0] & ~mask) | (b.q[0] & mask);
    put<E>(cpu, i.dest, r);
    return Flow::next;
}

// MOVLPS/PD, MOVHPS/PD: one 64-bit half from memory, the other kept.
template <unsigned Half, Encoding E> Flow load_half(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    u64 value;
    if (!cpu.read_operand(i, value)) return Flow::fault;
    Vec<16> r = get<Vec<16>, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    r.q[Half] = value;
    put<E>(cpu, i.dest, r);
    return Flow::next;
}
template <unsigned Half, Encoding E> Flow store_half(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    return cpu.write_operand(i, get<Vec<16>, E>(cpu, i.source).q[Half]) ? Flow::next : Flow::fault;
}
// MOVHLPS (Half 0 from the source's half 1), MOVLHPS (Half 1 from half 0).
template <unsigned Half, Encoding E> Flow cross_half(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    Vec<16> r = get<Vec<16>, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    r.q[Half] = get<Vec<16>, E>(cpu, E == Encoding::vex ? i.third : i.source).q[1 - Half];
    put<E>(cpu, i.dest, r);
    return Flow::next;
}

// MOVD, MOVQ between general and vector registers.
template <class T, Encoding E> Flow from_gpr(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx) {
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
        mmx_touch(cpu);
        mmx_put(cpu, i.dest, cpu.gpr<T>(i.source));
    } else {
        put<E>(cpu, i.dest, Vec<16>{{cpu.gpr<T>(i.source), 0}});
    }
    return Flow::next;
}
template <class T, Encoding E> Flow to_gpr(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx) {
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
        mmx_touch(cpu);
        cpu.set_gpr<T>(i.dest, static_cast<T>(mmx_get(cpu, i.source)));
    } else {
        cpu.set_gpr<T>(i.dest, static_cast<T>(get<Vec<16>, E>(cpu, i.source).q[0]));
    }
    return Flow::next;
}
// MOVQ between XMM registers: the upper half becomes zero.
template <Encoding E> Flow move_low(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    put<E>(cpu, i.dest, Vec<16>{{get<Vec<16>, E>(cpu, i.source).q[0], 0}});
    return Flow::next;
}
// MMX with memory: 32 or 64 bits.
template <class T> Flow mmx_load(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::mmx>(cpu)) return Flow::fault;
    if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    T value;
    if (!cpu.read_operand(i, value)) return Flow::fault;
    mmx_touch(cpu);
    mmx_put(cpu, i.dest, value);
    return Flow::next;
}
template <class T> Flow mmx_store(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::mmx>(cpu)) return Flow::fault;
    if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    if (!cpu.write_operand(i, static_cast<T>(mmx_get(cpu, i.source)))) return Flow::fault;
    mmx_touch(cpu);
    return Flow::next;
}
Flow mmx_register_move(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::mmx>(cpu)) return Flow::fault;
    if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    mmx_touch(cpu);
    mmx_put(cpu, i.dest, mmx_get(cpu, i.source));
    return Flow::next;
}
// MOVQ2DQ and MOVDQ2Q count as MMX instructions: the x87 state turns to MMX.
Flow mmx_to_xmm(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::sse>(cpu) || unavailable<Encoding::mmx>(cpu)) return Flow::fault;
    if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    mmx_touch(cpu);
    put<Encoding::sse>(cpu, i.dest, Vec<16>{{mmx_get(cpu, i.source), 0}});
    return Flow::next;
}
Flow xmm_to_mmx(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::sse>(cpu) || unavailable<Encoding::mmx>(cpu)) return Flow::fault;
    if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    mmx_touch(cpu);
    mmx_put(cpu, i.dest, get<Vec<16>, Encoding::sse>(cpu, i.source).q[0]);
    return Flow::next;
}

// MOVMSKPS/PD, PMOVMSKB: the sign bits of the lanes.
template <class T, class V, Encoding E> Flow move_mask(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx) {
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
        mmx_touch(cpu);
    }
    const auto x = lanes<T>(get<V, E>(cpu, i.source));
    u32 mask = 0;
    for (std::size_t n = 0; n < x.size(); ++n)
        mask |= static_cast<u32>(x[n] >> (sizeof(T) * 8 - 1)) << n;
    cpu.state.gpr[i.dest] = mask;
    return Flow::next;
}
template <class T> Handler mask_of(const Form& f) {
    if (f.is(1, OperandKind::mmx)) return threaded<move_mask<T, Vec<8>, Encoding::mmx>>;
    if (is_ymm(f)) return threaded<move_mask<T, Vec<32>, Encoding::vex>>;
    return is_vex(f) ? threaded<move_mask<T, Vec<16>, Encoding::vex>> : threaded<move_mask<T, Vec<16>, Encoding::sse>>;
}

template <class T> Handler scalar_move(const Form& f) {
    if (is_vex(f))
        return f.memory(0)   ? threaded<store_scalar<T, Encoding::vex>>
               : f.memory(1) ? threaded<load_scalar<T, Encoding::vex>>
                             : threaded<merge_scalar<T, Encoding::vex>>;
    return f.memory(0)   ? threaded<store_scalar<T, Encoding::sse>>
           : f.memory(1) ? threaded<load_scalar<T, Encoding::sse>>
                         : threaded<merge_scalar<T, Encoding::sse>>;
}
template <unsigned Half> Handler half_move(const Form& f) {
    if (is_vex(f))
        return f.memory(0) ? threaded<store_half<Half, Encoding::vex>> : threaded<load_half<Half, Encoding::vex>>;
    return f.memory(0) ? threaded<store_half<Half, Encoding::sse>> : threaded<load_half<Half, Encoding::sse>>;
}
template <unsigned Half> Handler half_cross(const Form& f) {
    return is_vex(f) ? threaded<cross_half<Half, Encoding::vex>> : threaded<cross_half<Half, Encoding::sse>>;
}

// MOVD and MOVQ share a selector: T is what the general register or memory holds.
template <class T> Handler word_move(const Form& f) {
    const bool vex = is_vex(f);
    if (is_mmx(f)) {
        if (f.memory(0)) return threaded<mmx_store<T>>;
        if (f.memory(1)) return threaded<mmx_load<T>>;
        if (f.is(0, OperandKind::gpr)) return threaded<to_gpr<T, Encoding::mmx>>;
        if (f.is(1, OperandKind::gpr)) return threaded<from_gpr<T, Encoding::mmx>>;
        return threaded<mmx_register_move>;
    }
    if (f.memory(0)) return vex ? threaded<store_scalar<T, Encoding::vex>> : threaded<store_scalar<T, Encoding::sse>>;
    if (f.memory(1)) return vex ? threaded<load_scalar<T, Encoding::vex>> : threaded<load_scalar<T, Encoding::sse>>;
    if (f.is(0, OperandKind::gpr)) return vex ? threaded<to_gpr<T, Encoding::vex>> : threaded<to_gpr<T, Encoding::sse>>;
    if (f.is(1, OperandKind::gpr))
        return vex ? threaded<from_gpr<T, Encoding::vex>> : threaded<from_gpr<T, Encoding::sse>>;
    return vex ? threaded<move_low<Encoding::vex>> : threaded<move_low<Encoding::sse>>;
}

template <bool Clear256> Flow zero_vectors(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::vex>(cpu)) return Flow::fault;
    const unsigned count = i.mode64() ? 16 : 8; // Outside 64-bit mode XMM8 to XMM15 stay as they are.
    for (unsigned n = 0; n < count; ++n) {
        VectorRegister& reg = cpu.state.vector[n];
        if constexpr (Clear256) reg.q[0] = reg.q[1] = 0;
        reg.q[2] = reg.q[3] = 0;
    }
    return Flow::next;
}
Flow empty_mmx(Cpu& cpu, const Instruction&) {
    if (unavailable<Encoding::mmx>(cpu)) return Flow::fault;
    if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    cpu.state.x87.set_top(0);
    cpu.state.x87.valid = 0;
    return Flow::next;
}

// MASKMOVQ, MASKMOVDQU: bytes whose mask bit is set go to DS:rDI. As in silicon, all the bytes must be writable (and
// aligned to 8 bytes, where that is checked), whatever the mask; nothing is written on a fault.
template <class V, Encoding E> Flow masked_bytes(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx) {
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
        mmx_touch(cpu);
    }
    const auto data = lanes<u8>(get<V, E>(cpu, i.dest)), mask = lanes<u8>(get<V, E>(cpu, i.source));
    const u64 offset = cpu.state.gpr[rdi] & address_mask(i.address_bytes());
    LinearAddress address;
    if (!cpu.linear(i.segment(), offset, V::bytes, mmu::Access::write, address)) return Flow::fault;
    for (u64 part = 0; part < V::bytes; part += 8)
        if (!cpu.mmu.probe_write(address + part, 8)) return cpu.raise_memory_fault(i.segment());
    for (u64 n = 0; n < data.size(); ++n)
        if ((mask[n] & 0x80) && !cpu.write(i.segment(), (offset + n) & address_mask(i.address_bytes()), data[n]))
            return Flow::fault;
    return Flow::next;
}

} // namespace

Handler move_aligned(const Form& f) { return whole_move<true>(f); }
Handler move_unaligned(const Form& f) { return whole_move<false>(f); }
Handler move_ss(const Form& f) { return scalar_move<u32>(f); }
Handler move_sd(const Form& f) { return scalar_move<u64>(f); }
Handler move_low_half(const Form& f) { return half_move<0>(f); }
Handler move_high_half(const Form& f) { return half_move<1>(f); }
Handler move_high_to_low(const Form& f) { return half_cross<0>(f); }
Handler move_low_to_high(const Form& f) { return half_cross<1>(f); }
Handler move_d(const Form& f) { return word_move<u32>(f); }
Handler move_q(const Form& f) { return word_move<u64>(f); }
Handler move_nt_q(const Form&) { return threaded<mmx_store<u64>>; }
Handler move_q2dq(const Form&) { return threaded<mmx_to_xmm>; }
Handler move_dq2q(const Form&) { return threaded<xmm_to_mmx>; }
Handler mask_b(const Form& f) { return mask_of<u8>(f); }
Handler mask_ps(const Form& f) { return mask_of<u32>(f); }
Handler mask_pd(const Form& f) { return mask_of<u64>(f); }
Handler zero_all(const Form&) { return threaded<zero_vectors<true>>; }
Handler zero_upper(const Form&) { return threaded<zero_vectors<false>>; }
Handler emms(const Form&) { return threaded<empty_mmx>; }
Handler mask_move(const Form& f) {
    if (is_mmx(f)) return threaded<masked_bytes<Vec<8>, Encoding::mmx>>;
    return is_vex(f) ? threaded<masked_bytes<Vec<16>, Encoding::vex>> : threaded<masked_bytes<Vec<16>, Encoding::sse>>;
}

} // namespace calque::cpu::simd
