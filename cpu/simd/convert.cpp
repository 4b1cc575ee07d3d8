// Conversions between floating-point formats and integers.
#include "cpu/simd/float_forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

namespace {

// A packed conversion: Count lanes of type From become lanes of type To; a result narrower than its register leaves
// zeros above (up to the operation's width, and up to the end in VEX).
template <class Op, unsigned Count, Encoding E, bool Memory> Flow convert_packed(Cpu& cpu, const Instruction& i) {
    using From = typename Op::From;
    using To = typename Op::To;
    constexpr unsigned in = Count * sizeof(From), out = Count * sizeof(To);
    if (unavailable<E>(cpu)) return Flow::fault;
    std::array<From, Count> a;
    if constexpr (Memory) {
        Vec<in> v;
        if (!load < E == Encoding::sse && in == 16 > (cpu, i, v)) return Flow::fault;
        a = lanes<From>(v);
    } else {
        const auto whole = lanes<From>(get<Vec<(in > 16 ? 32 : 16)>, E>(cpu, i.source));
        for (unsigned n = 0; n < Count; ++n)
            a[n] = whole[n];
    }
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    std::array<To, (out > 16 ? 32 : 16) / sizeof(To)> r{};
    for (unsigned n = 0; n < Count; ++n)
        r[n] = Op::apply(a[n], static_cast<u8>(i.immediate), status);
    if (!commit(cpu, status)) return Flow::fault;
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}

// `Count128` lanes for an operation that the encoding calls 128 bits wide, twice as many for 256.
template <class Op, unsigned Count128> Handler converted(const Form& f) {
    return by_width<w_sse>(f, []<class V, Encoding E, bool Memory>() -> Handler {
        return threaded<convert_packed<Op, Count128 * V::bytes / 16, E, Memory>>;
    });
}

template <class F, bool Truncate> struct ToInt32 {
    using From = FloatBits<F>;
    using To = u32;
    static u32 apply(From a, u8, fp::Status& s) {
        return static_cast<u32>(fp::to_i32(F{a}, Truncate ? fp::Rounding::TowardZero : s.rounding, s));
    }
};
struct Int32ToSingle {
    using From = u32;
    using To = u32;
    static u32 apply(u32 a, u8, fp::Status& s) { return fp::f32_from_int(static_cast<i32>(a), s).bits; }
};
struct Int32ToDouble {
    using From = u32;
    using To = u64;
    static u64 apply(u32 a, u8, fp::Status& s) { return fp::f64_from_int(static_cast<i32>(a), s).bits; }
};
struct SingleToDouble {
    using From = u32;
    using To = u64;
    static u64 apply(u32 a, u8, fp::Status& s) { return fp::to_f64(fp::F32{a}, s).bits; }
};
struct DoubleToSingle {
    using From = u64;
    using To = u32;
    static u32 apply(u64 a, u8, fp::Status& s) { return fp::to_f32(fp::F64{a}, s).bits; }
};
struct HalfToSingle {
    using From = u16;
    using To = u32;
    static u32 apply(u16 a, u8, fp::Status& s) { return fp::to_f32(fp::F16{a}, s).bits; }
};

// CVTSS2SD, CVTSD2SS: the low lane converted, the rest from the first source.
template <class From, class To, Encoding E, bool Memory> Flow convert_scalar(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    From b;
    if (!scalar_source<From, E, Memory>(cpu, i, E == Encoding::vex ? i.third : i.source, b)) return Flow::fault;
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    FloatBits<To> r;
    if constexpr (sizeof(r) == 8)
        r = fp::to_f64(b, status).bits;
    else
        r = fp::to_f32(b, status).bits;
    if (!commit(cpu, status)) return Flow::fault;
    put_scalar<E>(cpu, i, r);
    return Flow::next;
}
template <class From, class To> Handler scalar_conversion(const Form& f) {
    return by_encoding(
        f, []<Encoding E, bool Memory>() -> Handler { return threaded<convert_scalar<From, To, E, Memory>>; });
}

// CVTSI2SS/SD: a general register or memory of the integer operand size.
template <class To, class Int, Encoding E, bool Memory> Flow from_integer(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    Int value;
    if constexpr (Memory) {
        if (!cpu.read_operand(i, value)) return Flow::fault;
    } else {
        value = cpu.gpr<Int>(E == Encoding::vex ? i.third : i.source);
    }
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const i64 integer = static_cast<i64>(static_cast<std::make_signed_t<Int>>(value));
    FloatBits<To> r;
    if constexpr (sizeof(r) == 8)
        r = fp::f64_from_int(integer, status).bits;
    else
        r = fp::f32_from_int(integer, status).bits;
    if (!commit(cpu, status)) return Flow::fault;
    put_scalar<E>(cpu, i, r);
    return Flow::next;
}
template <class To, class Int> Handler integer_source(const Form& f) {
    return by_encoding(f,
                       []<Encoding E, bool Memory>() -> Handler { return threaded<from_integer<To, Int, E, Memory>>; });
}
template <class To> Handler from_integer_of(const Form& f) {
    // The integer is the last operand; REX.W or VEX.W makes it 64 bits.
    return f.size[f.count - 1] == 8 ? integer_source<To, u64>(f) : integer_source<To, u32>(f);
}

// CVTSS2SI, CVTTSD2SI and so on.
template <class From, class Int, bool Truncate, Encoding E, bool Memory>
Flow to_integer(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    From b;
    if (!scalar_source<From, E, Memory>(cpu, i, i.source, b)) return Flow::fault;
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const fp::Rounding rounding = Truncate ? fp::Rounding::TowardZero : status.rounding;
    Int r;
    if constexpr (sizeof(Int) == 8)
        r = static_cast<Int>(fp::to_i64(b, rounding, status));
    else
        r = static_cast<Int>(fp::to_i32(b, rounding, status));
    if (!commit(cpu, status)) return Flow::fault;
    cpu.set_gpr<Int>(i.dest, r);
    return Flow::next;
}
template <class From, class Int, bool Truncate> Handler integer_result(const Form& f) {
    return by_encoding(
        f, []<Encoding E, bool Memory>() -> Handler { return threaded<to_integer<From, Int, Truncate, E, Memory>>; });
}
template <class From, bool Truncate> Handler to_integer_of(const Form& f) {
    return f.size[0] == 8 ? integer_result<From, u64, Truncate>(f) : integer_result<From, u32, Truncate>(f);
}

// The MMX conversions. Operands in memory are 64 bits; those in MMX registers turn the x87 state to MMX, and wait for
// its pending exceptions.
template <class To, bool Memory> Flow mmx_to_float(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::sse>(cpu)) return Flow::fault;
    if constexpr (!Memory) {
        if (unavailable<Encoding::mmx>(cpu)) return Flow::fault;
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    }
    Vec<8> b;
    if (!source<Vec<8>, Encoding::mmx, Memory>(cpu, i, i.source, b)) return Flow::fault;
    if constexpr (!Memory) mmx_touch(cpu); // Even if the conversion then raises #XM.
    const auto x = lanes<i32>(b);
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    Vec<16> r = get<Vec<16>, Encoding::sse>(cpu, i.dest);
    if constexpr (sizeof(FloatBits<To>) == 8)
        r = {{fp::f64_from_int(x[0], status).bits, fp::f64_from_int(x[1], status).bits}};
    else
        r.q[0] = fp::f32_from_int(x[0], status).bits | u64{fp::f32_from_int(x[1], status).bits} << 32;
    if (!commit(cpu, status)) return Flow::fault;
    put<Encoding::sse>(cpu, i.dest, r);
    return Flow::next;
}
template <class From, bool Truncate, bool Memory> Flow float_to_mmx(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::sse>(cpu) || unavailable<Encoding::mmx>(cpu)) return Flow::fault;
    if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    std::array<FloatBits<From>, 2> x;
    if constexpr (Memory) {
        Vec<2 * sizeof(FloatBits<From>)> v;
        if (!load<sizeof(v) == 16>(cpu, i, v)) return Flow::fault;
        x = lanes<FloatBits<From>>(v);
    } else {
        const auto whole = lanes<FloatBits<From>>(get<Vec<16>, Encoding::sse>(cpu, i.source));
        x = {whole[0], whole[1]};
    }
    mmx_touch(cpu); // Even if the conversion then raises #XM.
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const fp::Rounding rounding = Truncate ? fp::Rounding::TowardZero : status.rounding;
    const u32 low = static_cast<u32>(fp::to_i32(From{x[0]}, rounding, status));
    const u32 high = static_cast<u32>(fp::to_i32(From{x[1]}, rounding, status));
    if (!commit(cpu, status)) return Flow::fault;
    mmx_put(cpu, i.dest, low | u64{high} << 32);
    return Flow::next;
}

// VCVTPS2PH: to a register (zero above) or to memory; immediate bit 2 takes the rounding from MXCSR.
template <unsigned Count, bool Memory> Flow single_to_half(Cpu& cpu, const Instruction& i) {
    if (unavailable<Encoding::vex>(cpu)) return Flow::fault;
    const auto x = lanes<u32>(get<Vec<4 * Count>, Encoding::vex>(cpu, i.source));
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const u8 imm = static_cast<u8>(i.immediate);
    const fp::Rounding rounding = imm & 4 ? status.rounding : static_cast<fp::Rounding>(imm & 3);
    std::array<u16, Count> half;
    for (unsigned n = 0; n < Count; ++n)
        half[n] = fp::to_f16(fp::F32{x[n]}, rounding, status).bits;
    if constexpr (Memory) {
        // The store's faults come before the arithmetic ones are seen by the program, as MXCSR is written last.
        const Vec<2 * Count> v = vec(half);
        LinearAddress address;
        const u64 offset = effective_address(cpu.state, i);
        if (!cpu.linear(i.segment(), offset, sizeof(v), mmu::Access::write, address)) return Flow::fault;
        if (!cpu.mmu.probe_write(address, sizeof(v))) return cpu.raise_memory_fault(i.segment());
        if (!commit(cpu, status)) return Flow::fault;
        return cpu.write(i.segment(), offset, v) ? Flow::next : Flow::fault;
    } else {
        if (!commit(cpu, status)) return Flow::fault;
        std::array<u16, 8> r{};
        for (unsigned n = 0; n < Count; ++n)
            r[n] = half[n];
        put<Encoding::vex>(cpu, i.dest, vec(r));
        return Flow::next;
    }
}

} // namespace

Handler cvtdq2ps(const Form& f) { return converted<Int32ToSingle, 4>(f); }
Handler cvtdq2pd(const Form& f) { return converted<Int32ToDouble, 2>(f); }
Handler cvtps2dq(const Form& f) { return converted<ToInt32<fp::F32, false>, 4>(f); }
Handler cvttps2dq(const Form& f) { return converted<ToInt32<fp::F32, true>, 4>(f); }
Handler cvtpd2dq(const Form& f) { return converted<ToInt32<fp::F64, false>, 2>(f); }
Handler cvttpd2dq(const Form& f) { return converted<ToInt32<fp::F64, true>, 2>(f); }
Handler cvtps2pd(const Form& f) { return converted<SingleToDouble, 2>(f); }
Handler cvtpd2ps(const Form& f) { return converted<DoubleToSingle, 2>(f); }
Handler cvtph2ps(const Form& f) { return converted<HalfToSingle, 4>(f); }
Handler cvtps2ph(const Form& f) {
    if (is_ymm(f)) return f.memory(0) ? threaded<single_to_half<8, true>> : threaded<single_to_half<8, false>>;
    return f.memory(0) ? threaded<single_to_half<4, true>> : threaded<single_to_half<4, false>>;
}
Handler cvtss2sd(const Form& f) { return scalar_conversion<fp::F32, fp::F64>(f); }
Handler cvtsd2ss(const Form& f) { return scalar_conversion<fp::F64, fp::F32>(f); }
Handler cvtsi2ss(const Form& f) { return from_integer_of<fp::F32>(f); }
Handler cvtsi2sd(const Form& f) { return from_integer_of<fp::F64>(f); }
Handler cvtss2si(const Form& f) { return to_integer_of<fp::F32, false>(f); }
Handler cvttss2si(const Form& f) { return to_integer_of<fp::F32, true>(f); }
Handler cvtsd2si(const Form& f) { return to_integer_of<fp::F64, false>(f); }
Handler cvttsd2si(const Form& f) { return to_integer_of<fp::F64, true>(f); }
Handler cvtpi2ps(const Form& f) {
    return f.memory(1) ? threaded<mmx_to_float<fp::F32, true>> : threaded<mmx_to_float<fp::F32, false>>;
}
Handler cvtpi2pd(const Form& f) {
    return f.memory(1) ? threaded<mmx_to_float<fp::F64, true>> : threaded<mmx_to_float<fp::F64, false>>;
}
Handler cvtps2pi(const Form& f) {
    return f.memory(1) ? threaded<float_to_mmx<fp::F32, false, true>> : threaded<float_to_mmx<fp::F32, false, false>>;
}
Handler cvttps2pi(const Form& f) {
    return f.memory(1) ? threaded<float_to_mmx<fp::F32, true, true>> : threaded<float_to_mmx<fp::F32, true, false>>;
}
Handler cvtpd2pi(const Form& f) {
    return f.memory(1) ? threaded<float_to_mmx<fp::F64, false, true>> : threaded<float_to_mmx<fp::F64, false, false>>;
}
Handler cvttpd2pi(const Form& f) {
    return f.memory(1) ? threaded<float_to_mmx<fp::F64, true, true>> : threaded<float_to_mmx<fp::F64, true, false>>;
}

} // namespace calque::cpu::simd
