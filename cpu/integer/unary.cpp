// INC, DEC, NEG, NOT, and the additions of ADX.
#include "cpu/integer/alu.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

struct Inc {
    template <class T> static T apply(LazyFlags& f, T a) {
        const T r = static_cast<T>(a + 1);
        f = with_cf(flags_add(a, T{1}, r), cf(f));
        return r;
    }
};
struct Dec {
    template <class T> static T apply(LazyFlags& f, T a) {
        const T r = static_cast<T>(a - 1);
        f = with_cf(flags_sub(a, T{1}, r), cf(f));
        return r;
    }
};
struct Neg {
    template <class T> static T apply(LazyFlags& f, T a) {
        const T r = static_cast<T>(-a);
        f = flags_sub(T{0}, a, r);
        return r;
    }
};
struct Not {
    template <class T> static T apply(LazyFlags&, T a) { return static_cast<T>(~a); }
};

template <class Op, class T, Where D> Flow unary(Cpu& cpu, const Instruction& i) {
    const LazyFlags before = cpu.state.lazy;
    LazyFlags after;
    const auto operation = [&](T a) {
        after = before;
        return Op::apply(after, a);
    };
    if (!update<D, T>(cpu, i, i.dest, operation)) return Flow::fault;
    cpu.state.lazy = after;
    return Flow::next;
}

template <class Op> Handler select_unary(const Form& f) {
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0), [&]<Where D>() -> Handler {
            return handler_for<D, unary<Op, T, D>, unary<Op, T, general(D)>>();
        });
    });
}

// ADCX adds with CF, ADOX with OF, and each changes no other flag.
template <bool Overflow, class T, Where S> Flow add_with_flag(Cpu& cpu, const Instruction& i) {
    T b;
    if (!load<S, T>(cpu, i, i.source, b)) return Flow::fault;
    const LazyFlags before = cpu.state.lazy;
    const u128 sum = u128{cpu.gpr<T>(i.dest)} + b + (Overflow ? of(before) : cf(before));
    const bool carry = (sum >> bits_of<T>)&1;
    cpu.set_gpr<T>(i.dest, static_cast<T>(sum));
    cpu.state.lazy = Overflow ? with_cf_of(before, cf(before), carry) : with_cf_of(before, carry, of(before));
    return Flow::next;
}
template <bool Overflow> Handler select_adx(const Form& f) {
    return by_where(where(f, 1), [&]<Where S>() -> Handler {
        if (f.size[0] == 8)
            return handler_for<S, add_with_flag<Overflow, u64, S>, add_with_flag<Overflow, u64, general(S)>>();
        return handler_for<S, add_with_flag<Overflow, u32, S>, add_with_flag<Overflow, u32, general(S)>>();
    });
}

} // namespace

Handler select_inc(const Form& f) { return select_unary<Inc>(f); }
Handler select_dec(const Form& f) { return select_unary<Dec>(f); }
Handler select_neg(const Form& f) { return select_unary<Neg>(f); }
Handler select_not(const Form& f) { return select_unary<Not>(f); }
Handler select_adcx(const Form& f) { return select_adx<false>(f); }
Handler select_adox(const Form& f) { return select_adx<true>(f); }

} // namespace calque::cpu
