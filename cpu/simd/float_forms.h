// Operand forms of the floating-point instructions: lanes go through cpu/fp one by one, their exceptions are gathered,
// and nothing is written when one of them is unmasked. An operation is a struct with
//
//   template <class T> static T apply(T a, T b, u8 immediate, fp::Status& status)
//
// where T is fp::F32 or fp::F64; a unary one ignores `a` and says `static constexpr bool unary = true`.
#pragma once

#include "cpu/fp/arith.h"
#include "cpu/fp/convert.h"
#include "cpu/simd/forms.h"

namespace calque::cpu::simd {

// Adds the flags to MXCSR. False: an unmasked exception, #XM (or #UD where the system does not know #XM) is pending.
[[nodiscard]] inline bool commit(Cpu& cpu, const fp::Status& status) {
    if (!status.commit_to_mxcsr(cpu.state.mxcsr)) [[likely]]
        return true;
    cpu.raise(cpu.state.cr4 & cr4_osxmmexcpt ? Vector::simd_floating_point : Vector::invalid_opcode);
    return false;
}

template <class Op> constexpr bool is_unary() {
    if constexpr (requires { Op::unary; })
        return Op::unary;
    else
        return false;
}

template <class T> using FloatBits = decltype(T::bits);

template <class Op, class T, class V, Encoding E, bool Memory> Flow float_packed(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    constexpr bool three = E == Encoding::vex && !is_unary<Op>();
    V second;
    if (!source<V, E, Memory>(cpu, i, three ? i.third : i.source, second)) return Flow::fault;
    const auto a = lanes<FloatBits<T>>(get<V, E>(cpu, three ? i.source : i.dest));
    const auto b = lanes<FloatBits<T>>(second);
    auto r = a;
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    for (std::size_t n = 0; n < r.size(); ++n)
        r[n] = Op::template apply<T>(T{a[n]}, T{b[n]}, static_cast<u8>(i.immediate), status).bits;
    if (!commit(cpu, status)) return Flow::fault;
    put<E>(cpu, i.dest, vec(r));
    return Flow::next;
}

// The second source's low lane, from a register or a memory operand of just its size.
template <class T, Encoding E, bool Memory>
[[nodiscard]] inline bool scalar_source(Cpu& cpu, const Instruction& i, unsigned n, T& out) {
    if constexpr (Memory) return cpu.read_operand(i, out.bits);
    out.bits = static_cast<FloatBits<T>>(get<Vec<16>, E>(cpu, n).q[0]);
    return true;
}
// The low lane replaced; the others come from the first source.
template <Encoding E, class Bits> inline void put_scalar(Cpu& cpu, const Instruction& i, Bits value) {
    Vec<16> r = get<Vec<16>, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    constexpr u64 mask = sizeof(Bits) == 8 ? ~u64{0} : 0xFFFFFFFF;
    r.q[0] = (r.q[0] & ~mask) | value;
    put<E>(cpu, i.dest, r);
}

template <class Op, class T, Encoding E, bool Memory> Flow float_scalar(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    T b;
    if (!scalar_source<T, E, Memory>(cpu, i, E == Encoding::vex ? i.third : i.source, b)) return Flow::fault;
    const T a{static_cast<FloatBits<T>>(get<Vec<16>, E>(cpu, E == Encoding::vex ? i.source : i.dest).q[0])};
    fp::Status status = fp::Status::from_mxcsr(cpu.state.mxcsr);
    const T r = Op::template apply<T>(a, b, static_cast<u8>(i.immediate), status);
    if (!commit(cpu, status)) return Flow::fault;
    put_scalar<E>(cpu, i, r.bits);
    return Flow::next;
}

template <class Op, class T> Handler packed(const Form& f) {
    return by_width<w_sse>(
        f, []<class V, Encoding E, bool Memory>() -> Handler { return threaded<float_packed<Op, T, V, E, Memory>>; });
}
template <class Op, class T> Handler scalar(const Form& f) {
    return by_encoding(f,
                       []<Encoding E, bool Memory>() -> Handler { return threaded<float_scalar<Op, T, E, Memory>>; });
}

template <class Op> Handler ps(const Form& f) { return packed<Op, fp::F32>(f); }
template <class Op> Handler pd(const Form& f) { return packed<Op, fp::F64>(f); }
template <class Op> Handler scalar_ss(const Form& f) { return scalar<Op, fp::F32>(f); }
template <class Op> Handler scalar_sd(const Form& f) { return scalar<Op, fp::F64>(f); }

} // namespace calque::cpu::simd
