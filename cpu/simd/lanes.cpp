// Single lanes in and out, widening moves, blends by a mask, and tests.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

// PMOVSX, PMOVZX: the low lanes of the source, widened; memory holds just those.
template <class From, class To, unsigned Bytes, Encoding E, bool Memory> Flow widen(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    constexpr unsigned count = Bytes / sizeof(To), in = count * sizeof(From);
    std::array<From, count> a;
    if constexpr (Memory) {
        using Raw = std::conditional_t<in == 2, u16,
                                       std::conditional_t<in == 4, u32, std::conditional_t<in == 8, u64, Vec<16>>>>;
        Raw raw;
        if (!cpu.read_operand(i, raw)) return Flow::fault;
        a = std::bit_cast<std::array<From, count>>(raw);
    } else {
        const auto whole = lanes<From>(get<Vec<16>, E>(cpu, i.source));
        for (unsigned n = 0; n < count; ++n)
            a[n] = whole[n];
    }
    std::array<To, count> r;
    for (unsigned n = 0; n < count; ++n)
        r[n] = static_cast<To>(a[n]);
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}
template <class From, class To> Handler widening(const Form& f) {
    return by_width<w_sse>(f, []<class V, Encoding E, bool Memory>() -> Handler {
        return threaded<widen<From, To, V::bytes, E, Memory>>;
    });
}

// PEXTRx, EXTRACTPS: a lane to memory of its size, or zero-extended to a general register.
template <class T, Encoding E, bool Memory> Flow extract(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx)
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    using V = Vec<E == Encoding::mmx ? 8 : 16>;
    const auto x = lanes<T>(get<V, E>(cpu, i.source));
    const T value = x[i.immediate & (x.size() - 1)];
    if constexpr (Memory) return cpu.write_operand(i, value) ? Flow::next : Flow::fault;
    if constexpr (E == Encoding::mmx) mmx_touch(cpu);
    cpu.state.gpr[i.dest] = value;
    return Flow::next;
}
template <class T> Handler extraction(const Form& f) {
    return by_encoding(f, []<Encoding E, bool Memory>() -> Handler { return threaded<extract<T, E, Memory>>; });
}

// PINSRx: a lane from memory of its size or the low bits of a general register.
template <class T, Encoding E, bool Memory> Flow insert(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx)
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    T value;
    if constexpr (Memory) {
        if (!cpu.read_operand(i, value)) return Flow::fault;
    } else {
        value = static_cast<T>(cpu.state.gpr[E == Encoding::vex ? i.third : i.source]);
    }
    using V = Vec<E == Encoding::mmx ? 8 : 16>;
    auto r = lanes<T>(get<V, E>(cpu, E == Encoding::vex ? i.source : i.dest));
    r[i.immediate & (r.size() - 1)] = value;
    if constexpr (E == Encoding::mmx) mmx_touch(cpu);
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}
template <class T> Handler insertion(const Form& f) {
    return by_encoding(f, []<Encoding E, bool Memory>() -> Handler { return threaded<insert<T, E, Memory>>; });
}

// INSERTPS: immediate 7:6 picks the source lane (not of memory), 5:4 the destination's, 3:0 clears lanes.
template <Encoding E, bool Memory> Flow insert_ps(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    const u8 imm = static_cast<u8>(i.immediate);
    u32 value;
    if constexpr (Memory) {
        if (!cpu.read_operand(i, value)) return Flow::fault;
    } else {
        value = lanes<u32>(get<Vec<16>, E>(cpu, E == Encoding::vex ? i.third : i.source))[imm >> 6];
    }
    auto r = lanes<u32>(get<Vec<16>, E>(cpu, E == Encoding::vex ? i.source : i.dest));
    r[imm >> 4 & 3] = value;
    for (unsigned n = 0; n < 4; ++n)
        if (imm >> n & 1) r[n] = 0;
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}

// Blends by the sign bits of a mask: XMM0 in the legacy encoding, operand 3 in VEX.
template <class T, class V, Encoding E, bool Memory> Flow blend_variable(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    V second;
    if (!source<V, E, Memory>(cpu, i, E == Encoding::vex ? i.third : i.source, second)) return Flow::fault;
    auto r = lanes<T>(get<V, E>(cpu, E == Encoding::vex ? i.source : i.dest));
    const auto b = lanes<T>(second), mask = lanes<T>(get<V, E>(cpu, E == Encoding::vex ? i.fourth : 0));
    for (std::size_t n = 0; n < r.size(); ++n)
        if (mask[n] >> (sizeof(T) * 8 - 1)) r[n] = b[n];
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}
template <class T> Handler variable_blend(const Form& f) {
    return by_width<w_sse>(
        f, []<class V, Encoding E, bool Memory>() -> Handler { return threaded<blend_variable<T, V, E, Memory>>; });
}

// PTEST: ZF when a AND b is zero, CF when (NOT a) AND b is; VTESTPS and VTESTPD look at sign bits only.
template <u64 Mask, class V, Encoding E, bool Memory> Flow test(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    V b;
    if (!source<V, E, Memory>(cpu, i, i.source, b)) return Flow::fault;
    const V a = get<V, E>(cpu, i.dest);
    u64 both = 0, only_b = 0;
    for (std::size_t n = 0; n < a.q.size(); ++n) {
        both |= a.q[n] & b.q[n] & Mask;
        only_b |= ~a.q[n] & b.q[n] & Mask;
    }
    cpu.state.lazy = lazy_from_bits((both == 0 ? flag_zf : 0) | (only_b == 0 ? flag_cf : 0));
    return Flow::next;
}
template <u64 Mask> Handler testing(const Form& f) {
    return by_width<w_sse>(
        f, []<class V, Encoding E, bool Memory>() -> Handler { return threaded<test<Mask, V, E, Memory>>; });
}

// MOVDDUP, 128 bits: the low 64 twice; memory is 64 bits.
template <Encoding E, bool Memory> Flow duplicate_low(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    u64 value;
    if constexpr (Memory) {
        if (!cpu.read_operand(i, value)) return Flow::fault;
    } else {
        value = get<Vec<16>, E>(cpu, i.source).q[0];
    }
    put<E>(cpu, i.dest, Vec<16>{{value, value}});
    return Flow::next;
}

template <Encoding E> Flow load_mxcsr(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    u32 value;
    if (!cpu.read_operand(i, value)) return Flow::fault;
    if (value & ~u32{0xFFFF}) return cpu.general_protection();
    cpu.state.mxcsr = value;
    return Flow::next;
}
template <Encoding E> Flow store_mxcsr(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    return cpu.write_operand(i, cpu.state.mxcsr) ? Flow::next : Flow::fault;
}

} // namespace

Handler pmovsxbw(const Form& f) { return widening<i8, i16>(f); }
Handler pmovsxbd(const Form& f) { return widening<i8, i32>(f); }
Handler pmovsxbq(const Form& f) { return widening<i8, i64>(f); }
Handler pmovsxwd(const Form& f) { return widening<i16, i32>(f); }
Handler pmovsxwq(const Form& f) { return widening<i16, i64>(f); }
Handler pmovsxdq(const Form& f) { return widening<i32, i64>(f); }
Handler pmovzxbw(const Form& f) { return widening<u8, u16>(f); }
Handler pmovzxbd(const Form& f) { return widening<u8, u32>(f); }
Handler pmovzxbq(const Form& f) { return widening<u8, u64>(f); }
Handler pmovzxwd(const Form& f) { return widening<u16, u32>(f); }
Handler pmovzxwq(const Form& f) { return widening<u16, u64>(f); }
Handler pmovzxdq(const Form& f) { return widening<u32, u64>(f); }
Handler pextrb(const Form& f) { return extraction<u8>(f); }
Handler pextrw(const Form& f) {
    if (f.is(1, OperandKind::mmx)) return threaded<extract<u16, Encoding::mmx, false>>;
    return extraction<u16>(f);
}
Handler pextrd(const Form& f) { return extraction<u32>(f); }
Handler pextrq(const Form& f) { return extraction<u64>(f); }
Handler pinsrb(const Form& f) { return insertion<u8>(f); }
Handler pinsrw(const Form& f) {
    if (f.is(0, OperandKind::mmx))
        return f.any_memory() ? threaded<insert<u16, Encoding::mmx, true>>
                              : threaded<insert<u16, Encoding::mmx, false>>;
    return insertion<u16>(f);
}
Handler pinsrd(const Form& f) { return insertion<u32>(f); }
Handler pinsrq(const Form& f) { return insertion<u64>(f); }
Handler insertps(const Form& f) {
    return by_encoding(f, []<Encoding E, bool Memory>() -> Handler { return threaded<insert_ps<E, Memory>>; });
}
Handler pblendvb(const Form& f) { return variable_blend<u8>(f); }
Handler blendvps(const Form& f) { return variable_blend<u32>(f); }
Handler blendvpd(const Form& f) { return variable_blend<u64>(f); }
Handler ptest(const Form& f) { return testing<~u64{0}>(f); }
Handler testps(const Form& f) { return testing<0x8000000080000000>(f); }
Handler testpd(const Form& f) { return testing<0x8000000000000000>(f); }
Handler movddup(const Form& f) {
    if (is_ymm(f)) return simd::duplicate_low_256(f);
    return by_encoding(f, []<Encoding E, bool Memory>() -> Handler { return threaded<duplicate_low<E, Memory>>; });
}
Handler ldmxcsr(const Form& f) {
    return is_vex(f) ? threaded<load_mxcsr<Encoding::vex>> : threaded<load_mxcsr<Encoding::sse>>;
}
Handler stmxcsr(const Form& f) {
    return is_vex(f) ? threaded<store_mxcsr<Encoding::vex>> : threaded<store_mxcsr<Encoding::sse>>;
}

} // namespace calque::cpu::simd
