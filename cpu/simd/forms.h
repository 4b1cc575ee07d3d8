// Operand forms: one handler template a form, made with the operation as a parameter. An operation is a struct with
//
//   template <class V> static V apply(const V& a, const V& b, u8 immediate)   binary: a is the first source (legacy:
//   the destination) template <class V> static V apply(const V& b, u8 immediate)               unary
//
// binary<Op> and unary<Op> are selectors for the instruction table: they choose among MMX, legacy SSE, VEX.128 and
// VEX.256, and between a register and memory as the last operand. An operation that must not be made for a width says
// so by `widths`.
#pragma once

#include "cpu/simd/operand.h"
#include "cpu/table.h"
#include "cpu/threaded.h"

namespace calque::cpu::simd {

enum Widths : unsigned { w64 = 1, w128 = 2, w256 = 4, w_sse = w128 | w256, w_all = w64 | w128 | w256 };

template <class Op> constexpr unsigned widths_of() {
    if constexpr (requires { Op::widths; })
        return Op::widths;
    else
        return w_all;
}

// A binary operation whose memory operand differs in kind says how: `memory_unaligned`, no alignment in legacy SSE;
// `mmx_low_half`, an MMX operand of 32 bits.
template <class Op, class V, Encoding E, bool Memory>
[[nodiscard]] bool binary_source(Cpu& cpu, const Instruction& i, V& out) {
    if constexpr (Memory && requires { Op::memory_unaligned; }) {
        return load<false>(cpu, i, out);
    } else if constexpr (Memory && E == Encoding::mmx && requires { Op::mmx_low_half; }) {
        u32 low;
        if (!cpu.read_operand(i, low)) return false;
        out = V{{low}};
        return true;
    } else {
        return source<V, E, Memory>(cpu, i, E == Encoding::vex ? i.third : i.source, out);
    }
}

template <class Op, class V, Encoding E, bool Memory> Flow do_binary(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx)
        if (mmx_pending_fault(cpu)) return Flow::fault;
    V b;
    if (!binary_source<Op, V, E, Memory>(cpu, i, b)) return Flow::fault;
    const V a = get<V, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    if constexpr (E == Encoding::mmx) mmx_touch(cpu);
    put<E>(cpu, i.dest, Op::template apply<V>(a, b, static_cast<u8>(i.immediate)));
    return Flow::next;
}

template <class Op, class V, Encoding E, bool Memory> Flow do_unary(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx)
        if (mmx_pending_fault(cpu)) return Flow::fault;
    V b;
    if (!source<V, E, Memory>(cpu, i, i.source, b)) return Flow::fault;
    if constexpr (E == Encoding::mmx) mmx_touch(cpu);
    put<E>(cpu, i.dest, Op::template apply<V>(b, static_cast<u8>(i.immediate)));
    return Flow::next;
}

// Of the forms of an instruction, what is common: is it VEX, how wide, is there memory.
inline bool is_mmx(const Form& f) { return f.is(0, OperandKind::mmx) || f.is(1, OperandKind::mmx); }
inline bool is_ymm(const Form& f) { return f.flags & insn_l256; }
inline bool is_vex(const Form& f) { return f.flags & insn_vex; }

#define CALQUE_SIMD_FORM(name, maker)                                                                                  \
    template <class Op> Handler name(const Form& f) {                                                                  \
        constexpr unsigned widths = widths_of<Op>();                                                                   \
        const bool memory = f.any_memory();                                                                            \
        if (is_mmx(f)) {                                                                                               \
            if constexpr (widths & w64)                                                                                \
                return memory ? threaded<maker<Op, Vec<8>, Encoding::mmx, true>>                                       \
                              : threaded<maker<Op, Vec<8>, Encoding::mmx, false>>;                                     \
            return nullptr;                                                                                            \
        }                                                                                                              \
        if (is_ymm(f)) {                                                                                               \
            if constexpr (widths & w256)                                                                               \
                return memory ? threaded<maker<Op, Vec<32>, Encoding::vex, true>>                                      \
                              : threaded<maker<Op, Vec<32>, Encoding::vex, false>>;                                    \
            return nullptr;                                                                                            \
        }                                                                                                              \
        if constexpr (widths & w128) {                                                                                 \
            if (is_vex(f))                                                                                             \
                return memory ? threaded<maker<Op, Vec<16>, Encoding::vex, true>>                                      \
                              : threaded<maker<Op, Vec<16>, Encoding::vex, false>>;                                    \
            return memory ? threaded<maker<Op, Vec<16>, Encoding::sse, true>>                                          \
                          : threaded<maker<Op, Vec<16>, Encoding::sse, false>>;                                        \
        }                                                                                                              \
        return nullptr;                                                                                                \
    }

CALQUE_SIMD_FORM(binary, do_binary)
CALQUE_SIMD_FORM(unary, do_unary)
#undef CALQUE_SIMD_FORM

} // namespace calque::cpu::simd
