// MUL, IMUL, DIV, IDIV, MULX. Flags left undefined are as on AMD's Zen 4: multiplication keeps all but CF and OF,
// division keeps just those, sets AF and clears the others.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

// Twice as wide as T, unsigned and signed.
template <class T> struct Wide;
template <> struct Wide<u8> {
    using U = u16;
    using S = i16;
};
template <> struct Wide<u16> {
    using U = u32;
    using S = i32;
};
template <> struct Wide<u32> {
    using U = u64;
    using S = i64;
};
template <> struct Wide<u64> {
    using U = u128;
    using S = i128;
};

// The double-width accumulator: AX, DX:AX, EDX:EAX or RDX:RAX.
template <class T> typename Wide<T>::U read_double(Cpu& cpu) {
    using W = typename Wide<T>::U;
    if constexpr (sizeof(T) == 1)
        return cpu.gpr<u16>(rax);
    else
        return static_cast<W>((static_cast<W>(cpu.gpr<T>(rdx)) << bits_of<T>) | cpu.gpr<T>(rax));
}
template <class T> void write_double(Cpu& cpu, T low, T high) {
    if constexpr (sizeof(T) == 1) {
        cpu.gpr<u16>(rax) = static_cast<u16>((high << 8) | low);
    } else {
        cpu.set_gpr<T>(rax, low);
        cpu.set_gpr<T>(rdx, high);
    }
}

template <class T> bool signed_overflow(typename Wide<T>::S product) {
    return product != static_cast<std::make_signed_t<T>>(product);
}
template <class T> typename Wide<T>::S signed_product(T a, T b) {
    using S = std::make_signed_t<T>;
    using W = typename Wide<T>::S;
    return static_cast<W>(static_cast<W>(static_cast<S>(a)) * static_cast<S>(b));
}

template <class T, Where S> Flow mul(Cpu& cpu, const Instruction& i) {
    using W = typename Wide<T>::U;
    T b;
    if (!load<S, T>(cpu, i, i.dest, b)) return Flow::fault;
    const W product = static_cast<W>(static_cast<W>(cpu.gpr<T>(rax)) * b);
    const T high = static_cast<T>(product >> bits_of<T>);
    write_double<T>(cpu, static_cast<T>(product), high);
    cpu.state.lazy = with_cf_of(cpu.state.lazy, high != 0, high != 0);
    return Flow::next;
}
template <class T, Where S> Flow imul1(Cpu& cpu, const Instruction& i) {
    T b;
    if (!load<S, T>(cpu, i, i.dest, b)) return Flow::fault;
    const auto product = signed_product<T>(cpu.gpr<T>(rax), b);
    const bool overflow = signed_overflow<T>(product);
    write_double<T>(cpu, static_cast<T>(product), static_cast<T>(product >> bits_of<T>));
    cpu.state.lazy = with_cf_of(cpu.state.lazy, overflow, overflow);
    return Flow::next;
}
template <class T, Where S, bool ByImmediate> Flow imul(Cpu& cpu, const Instruction& i) {
    T b;
    if (!load<S, T>(cpu, i, i.source, b)) return Flow::fault;
    const T a = ByImmediate ? static_cast<T>(i.immediate) : cpu.gpr<T>(i.dest);
    const auto product = signed_product<T>(a, b);
    const bool overflow = signed_overflow<T>(product);
    cpu.set_gpr<T>(i.dest, static_cast<T>(product));
    cpu.state.lazy = with_cf_of(cpu.state.lazy, overflow, overflow);
    return Flow::next;
}
// High half to operand 0, low half to operand 1; when they are the same register, it gets the high half.
template <class T, Where S> Flow mulx(Cpu& cpu, const Instruction& i) {
    using W = typename Wide<T>::U;
    T b;
    if (!load<S, T>(cpu, i, i.third, b)) return Flow::fault;
    const W product = static_cast<W>(cpu.gpr<T>(rdx)) * b;
    cpu.set_gpr<T>(i.source, static_cast<T>(product));
    cpu.set_gpr<T>(i.dest, static_cast<T>(product >> bits_of<T>));
    return Flow::next;
}

LazyFlags flags_of_division(const LazyFlags& f) {
    return lazy_from_bits((arithmetic_bits(f) & (flag_cf | flag_of)) | flag_af);
}

template <class T, Where S> Flow div(Cpu& cpu, const Instruction& i) {
    using W = typename Wide<T>::U;
    T divisor;
    if (!load<S, T>(cpu, i, i.dest, divisor)) return Flow::fault;
    const W dividend = read_double<T>(cpu);
    // The quotient fits when the high half is less than the divisor, which also rules out a divisor of zero.
    if (static_cast<T>(dividend >> bits_of<T>) >= divisor) return cpu.raise(Vector::divide_error);
    T quotient, remainder;
    if (sizeof(T) == 8 && static_cast<T>(dividend >> (bits_of<T> - 1) >> 1) == 0) {
        quotient = static_cast<T>(static_cast<T>(dividend) / divisor);
        remainder = static_cast<T>(static_cast<T>(dividend) % divisor);
    } else {
        quotient = static_cast<T>(dividend / divisor);
        remainder = static_cast<T>(dividend % divisor);
    }
    write_double<T>(cpu, quotient, remainder);
    cpu.state.lazy = flags_of_division(cpu.state.lazy);
    return Flow::next;
}
template <class T, Where S> Flow idiv(Cpu& cpu, const Instruction& i) {
    using U = typename Wide<T>::U;
    using W = typename Wide<T>::S;
    T raw;
    if (!load<S, T>(cpu, i, i.dest, raw)) return Flow::fault;
    const W dividend = static_cast<W>(read_double<T>(cpu));
    const W divisor = static_cast<std::make_signed_t<T>>(raw);
    if (divisor == 0) return cpu.raise(Vector::divide_error);
    // By magnitudes: the most negative dividend over -1 overflows W itself.
    const U a = dividend < 0 ? static_cast<U>(-static_cast<U>(dividend)) : static_cast<U>(dividend);
    const U b = divisor < 0 ? static_cast<U>(-static_cast<U>(divisor)) : static_cast<U>(divisor);
    const bool negative = (dividend < 0) != (divisor < 0);
    const U magnitude = a / b, rest = a % b;
    const U limit = (U{1} << (bits_of<T> - 1)) - (negative ? 0 : 1);
    if (magnitude > limit) return cpu.raise(Vector::divide_error);
    const T quotient = static_cast<T>(negative ? -magnitude : magnitude);
    const T remainder = static_cast<T>(dividend < 0 ? -rest : rest);
    write_double<T>(cpu, quotient, remainder);
    cpu.state.lazy = flags_of_division(cpu.state.lazy);
    return Flow::next;
}

} // namespace

Handler select_mul(const Form& f) {
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0),
                        [&]<Where S>() -> Handler { return handler_for<S, mul<T, S>, mul<T, general(S)>>(); });
    });
}
Handler select_imul(const Form& f) {
    const bool one = f.opcode == 0xF6 || f.opcode == 0xF7;
    const bool by_immediate = f.is(2, OperandKind::immediate);
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, one ? 0 : 1), [&]<Where S>() -> Handler {
            if (one) return handler_for<S, imul1<T, S>, imul1<T, general(S)>>();
            return by_immediate ? handler_for<S, imul<T, S, true>, imul<T, general(S), true>>()
                                : handler_for<S, imul<T, S, false>, imul<T, general(S), false>>();
        });
    });
}
Handler select_mulx(const Form& f) {
    return by_where(where(f, 2), [&]<Where S>() -> Handler {
        if (f.size[0] == 8) return handler_for<S, mulx<u64, S>, mulx<u64, general(S)>>();
        return handler_for<S, mulx<u32, S>, mulx<u32, general(S)>>();
    });
}
Handler select_div(const Form& f) {
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0),
                        [&]<Where S>() -> Handler { return handler_for<S, div<T, S>, div<T, general(S)>>(); });
    });
}
Handler select_idiv(const Form& f) {
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0),
                        [&]<Where S>() -> Handler { return handler_for<S, idiv<T, S>, idiv<T, general(S)>>(); });
    });
}

} // namespace calque::cpu
