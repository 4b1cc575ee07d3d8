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

// A bit is the number of 64-bit words.
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
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
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
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
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

// The choosers: which handler of those that `make` can give has the shape of the form?
//
// By width: make.operator()<V, Encoding, Memory>(), V one of the widths wanted; null for others.
template <unsigned Wanted, class Make> Handler by_width(const Form& f, Make make) {
    const auto shape = [&]<class V, Encoding E>() -> Handler {
        if constexpr ((Wanted & (V::bytes / 8)) != 0)
            return f.any_memory() ? make.template operator()<V, E, true>() : make.template operator()<V, E, false>();
        else
            return nullptr;
    };
    if (is_mmx(f)) return shape.template operator()<Vec<8>, Encoding::mmx>();
    if (is_ymm(f)) return shape.template operator()<Vec<32>, Encoding::vex>();
    if (is_vex(f)) return shape.template operator()<Vec<16>, Encoding::vex>();
    return shape.template operator()<Vec<16>, Encoding::sse>();
}
// By encoding, for scalars and whatever has one width: make.operator()<Encoding, Memory>().
template <class Make> Handler by_encoding(const Form& f, Make make) {
    constexpr auto vex = Encoding::vex, sse = Encoding::sse;
    if (is_vex(f))
        return f.any_memory() ? make.template operator()<vex, true>() : make.template operator()<vex, false>();
    return f.any_memory() ? make.template operator()<sse, true>() : make.template operator()<sse, false>();
}

template <class Op> Handler binary(const Form& f) {
    return by_width<widths_of<Op>()>(
        f, []<class V, Encoding E, bool Memory>() -> Handler { return threaded<do_binary<Op, V, E, Memory>>; });
}
template <class Op> Handler unary(const Form& f) {
    return by_width<widths_of<Op>()>(
        f, []<class V, Encoding E, bool Memory>() -> Handler { return threaded<do_unary<Op, V, E, Memory>>; });
}

} // namespace calque::cpu::simd
