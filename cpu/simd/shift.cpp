// Packed shifts: by an immediate, by the low 64 bits of a vector, and (AVX2) each lane by its own count.
#include "cpu/simd/forms.h"
#include "cpu/simd/rows.h"

namespace calque::cpu::simd {

template <class T> constexpr T shift_left(T x, u64 n) { return n >= sizeof(T) * 8 ? T{0} : static_cast<T>(x << n); }
template <class T> constexpr T shift_right(T x, u64 n) { return n >= sizeof(T) * 8 ? T{0} : static_cast<T>(x >> n); }
template <class T> constexpr T shift_arithmetic(T x, u64 n) {
    using S = std::make_signed_t<T>;
    return static_cast<T>(static_cast<S>(x) >> (n >= sizeof(T) * 8 ? sizeof(T) * 8 - 1 : n));
}

enum class Shift : u8 { left, right, arithmetic };
template <Shift S, class T> constexpr T shifted(T x, u64 n) {
    if constexpr (S == Shift::left) return shift_left(x, n);
    if constexpr (S == Shift::right) return shift_right(x, n);
    return shift_arithmetic(x, n);
}

// All lanes by one count. For the immediate form, the vector is operand 0 (legacy) or 1 (VEX), and the destination
// operand 0.
template <class T, Shift S> struct ShiftAll {
    template <class V> static V by(const V& a, u64 count) {
        return map<T>(a, [count](T x) { return shifted<S>(x, count); });
    }
};
struct SllW : ShiftAll<u16, Shift::left> {};
struct SllD : ShiftAll<u32, Shift::left> {};
struct SllQ : ShiftAll<u64, Shift::left> {};
struct SrlW : ShiftAll<u16, Shift::right> {};
struct SrlD : ShiftAll<u32, Shift::right> {};
struct SrlQ : ShiftAll<u64, Shift::right> {};
struct SraW : ShiftAll<u16, Shift::arithmetic> {};
struct SraD : ShiftAll<u32, Shift::arithmetic> {};

template <class Op, class V, Encoding E> Flow shift_immediate(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx) {
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
        mmx_touch(cpu);
    }
    const V a = get<V, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    put<E>(cpu, i.dest, Op::by(a, static_cast<u8>(i.immediate)));
    return Flow::next;
}

// The count is a 64- (MMX) or 128-bit operand, of which the low 64 bits count.
template <class Op, class V, Encoding E, bool Memory> Flow shift_vector(Cpu& cpu, const Instruction& i) {
    if (unavailable<E>(cpu)) return Flow::fault;
    if constexpr (E == Encoding::mmx)
        if (Flow flow; mmx_stopped(cpu, flow)) return flow;
    Vec<E == Encoding::mmx ? 8 : 16> count;
    if (!source<decltype(count), E, Memory>(cpu, i, E == Encoding::vex ? i.third : i.source, count)) return Flow::fault;
    if constexpr (E == Encoding::mmx) mmx_touch(cpu);
    const V a = get<V, E>(cpu, E == Encoding::vex ? i.source : i.dest);
    put<E>(cpu, i.dest, Op::by(a, count.q[0]));
    return Flow::next;
}

template <class Op> Handler shift(const Form& f) {
    if (f.is(static_cast<unsigned>(f.count - 1), OperandKind::immediate))
        return by_width<w_all>(
            f, []<class V, Encoding E, bool>() -> Handler { return threaded<shift_immediate<Op, V, E>>; });
    return by_width<w_all>(
        f, []<class V, Encoding E, bool Memory>() -> Handler { return threaded<shift_vector<Op, V, E, Memory>>; });
}

// PSLLDQ, PSRLDQ: bytes, within each 128 bits.
template <bool Left> struct ShiftBytes {
    template <class V> static V by(const V& a, u64 count) {
        const unsigned n = count > 15 ? 16 : static_cast<unsigned>(count);
        return by_half(a, a, [n](const auto& x, const auto&) {
            const auto p = lanes<u8>(x);
            std::array<u8, p.size()> r{};
            for (std::size_t i = 0; i + n < r.size(); ++i) {
                if constexpr (Left)
                    r[i + n] = p[i];
                else
                    r[i] = p[i + n];
            }
            return vec(r);
        });
    }
};
struct SllDQ : ShiftBytes<true> {};
struct SrlDQ : ShiftBytes<false> {};

template <class Op> Handler shift_bytes(const Form& f) {
    if (is_ymm(f)) return threaded<shift_immediate<Op, Vec<32>, Encoding::vex>>;
    if (is_vex(f)) return threaded<shift_immediate<Op, Vec<16>, Encoding::vex>>;
    return threaded<shift_immediate<Op, Vec<16>, Encoding::sse>>;
}

// VPSLLVD and the like.
template <class T, Shift S> struct ShiftEach {
    static constexpr unsigned widths = w_sse;
    template <class V> static V apply(const V& a, const V& b, u8) {
        return map<T>(a, b, [](T x, T n) { return shifted<S>(x, n); });
    }
};
struct SllVD : ShiftEach<u32, Shift::left> {};
struct SllVQ : ShiftEach<u64, Shift::left> {};
struct SrlVD : ShiftEach<u32, Shift::right> {};
struct SrlVQ : ShiftEach<u64, Shift::right> {};
struct SraVD : ShiftEach<u32, Shift::arithmetic> {};

#define MAKE(op) template Handler shift<op>(const Form&);
CALQUE_SIMD_SHIFT(MAKE)
template Handler shift_bytes<SllDQ>(const Form&);
template Handler shift_bytes<SrlDQ>(const Form&);
#define MAKE_EACH(op) template Handler binary<op>(const Form&);
CALQUE_SIMD_SHIFT_EACH(MAKE_EACH)

} // namespace calque::cpu::simd
