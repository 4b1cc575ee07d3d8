// Shifts and rotates. Flags that the manuals leave undefined are as AMD's Zen 4 has them: AF is set by shifts and kept
// by rotates, OF is computed for every count as for a count of one.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

template <class T> constexpr bool second_bit(T v) { return (v >> (bits_of<T> - 2)) & 1; }

// The operations: `n` is from 1 to 31, or to 63 for 64-bit operands.
struct Shl {
    template <class T> static T apply(LazyFlags& f, T a, unsigned n) {
        const u64 wide = n > bits_of<T> ? 0 : static_cast<u64>(a) << (n - 1);
        const T r = static_cast<T>(wide << 1);
        const bool carry = top_bit(static_cast<T>(wide));
        f = flags_of(r, carry, carry != top_bit(r), true);
        return r;
    }
};
struct Shr {
    template <class T> static T apply(LazyFlags& f, T a, unsigned n) {
        const u64 wide = n > bits_of<T> ? 0 : static_cast<u64>(a) >> (n - 1);
        const T r = static_cast<T>(wide >> 1);
        f = flags_of(r, wide & 1, top_bit(r) != second_bit(r), true);
        return r;
    }
};
struct Sar {
    template <class T> static T apply(LazyFlags& f, T a, unsigned n) {
        const i64 wide = static_cast<i64>(lazy_result(a)) >> (n - 1);
        const T r = static_cast<T>(wide >> 1);
        f = flags_of(r, wide & 1, false, true);
        return r;
    }
};
struct Rol {
    template <class T> static T apply(LazyFlags& f, T a, unsigned n) {
        n %= bits_of<T>;
        const T r = n == 0 ? a : static_cast<T>((a << n) | (a >> (bits_of<T> - n)));
        f = with_cf_of(f, r & 1, top_bit(r) != static_cast<bool>(r & 1));
        return r;
    }
};
struct Ror {
    template <class T> static T apply(LazyFlags& f, T a, unsigned n) {
        n %= bits_of<T>;
        const T r = n == 0 ? a : static_cast<T>((a >> n) | (a << (bits_of<T> - n)));
        f = with_cf_of(f, top_bit(r), top_bit(r) != second_bit(r));
        return r;
    }
};
// Through carry: a rotation of bits_of<T> + 1 bits.
struct Rcl {
    template <class T> static T apply(LazyFlags& f, T a, unsigned n) {
        n %= bits_of<T> + 1;
        bool carry = cf(f);
        T r = a;
        if (n != 0) {
            const u128 ring = (u128{carry} << bits_of<T>) | a;
            const u128 turned = (ring << n) | (ring >> (bits_of<T> + 1 - n));
            r = static_cast<T>(turned);
            carry = (turned >> bits_of<T>)&1;
        }
        f = with_cf_of(f, carry, carry != top_bit(r));
        return r;
    }
};
struct Rcr {
    template <class T> static T apply(LazyFlags& f, T a, unsigned n) {
        n %= bits_of<T> + 1;
        bool carry = cf(f);
        T r = a;
        if (n != 0) {
            const u128 ring = (u128{carry} << bits_of<T>) | a;
            const u128 turned = (ring >> n) | (ring << (bits_of<T> + 1 - n));
            r = static_cast<T>(turned);
            carry = (turned >> bits_of<T>)&1;
        }
        f = with_cf_of(f, carry, top_bit(r) != second_bit(r));
        return r;
    }
};

template <class T> constexpr unsigned count_mask = sizeof(T) == 8 ? 63 : 31;

// Whether the operation needs the flags there were: only for the rotates, which keep some.
template <class Op> constexpr bool keeps_flags =
    std::is_same_v<Op, Rol> || std::is_same_v<Op, Ror> || std::is_same_v<Op, Rcl> || std::is_same_v<Op, Rcr>;

// A count of zero changes nothing, but a memory operand is written all the same.
template <class Op, class T, Where D, bool ByCl> Flow shift(Cpu& cpu, const Instruction& i) {
    const unsigned n = (ByCl ? cpu.gpr<u8>(rcx) : static_cast<unsigned>(i.immediate)) & count_mask<T>;
    if (n == 0) [[unlikely]]
        return update<D, T>(cpu, i, i.dest, [](T a) { return a; }) ? Flow::next : Flow::fault;
    LazyFlags before, after;
    if constexpr (keeps_flags<Op>) before = cpu.state.lazy;
    const auto operation = [&](T a) {
        if constexpr (keeps_flags<Op>) after = before;
        return Op::apply(after, a, n);
    };
    if (!update<D, T>(cpu, i, i.dest, operation)) return Flow::fault;
    cpu.state.lazy = after;
    return Flow::next;
}

template <class Op> Handler select_shift(const Form& f) {
    const bool by_cl = f.is(1, OperandKind::gpr);
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0), [&]<Where D>() -> Handler {
            return by_cl ? handler_for<D, shift<Op, T, D, true>, shift<Op, T, general(D), true>>()
                         : handler_for<D, shift<Op, T, D, false>, shift<Op, T, general(D), false>>();
        });
    });
}

// SHLD and SHRD: two operands side by side. With 16-bit operands counts above 16 bring in the source again, and leave
// no carry; OF of a 16-bit SHLD is then that of the destination shifted alone.
template <bool Left, class T> T shift_double(LazyFlags& f, T a, T b, unsigned n) {
    constexpr unsigned width = bits_of<T>;
    T r;
    if constexpr (sizeof(T) == 2) {
        const u64 ring = ((Left ? u64{a} : u64{b}) << 32) | (u64{b} << 16) | (Left ? b : a);
        r = static_cast<T>(Left ? (ring << n) >> 32 : ring >> n);
    } else {
        r = static_cast<T>(Left ? (a << n) | (b >> (width - n)) : (a >> n) | (b << (width - n)));
    }
    const bool carry = n <= width && ((Left ? a >> (width - n) : a >> (n - 1)) & 1);
    bool overflow = top_bit(r) != second_bit(r);
    if constexpr (Left) overflow = carry != (n < width && top_bit(static_cast<T>(a << n)));
    f = flags_of(r, carry, overflow, true);
    return r;
}

template <bool Left, class T, Where D, bool ByCl> Flow double_shift(Cpu& cpu, const Instruction& i) {
    const unsigned n = (ByCl ? cpu.gpr<u8>(rcx) : static_cast<unsigned>(i.immediate)) & count_mask<T>;
    const T b = cpu.gpr<T>(i.source);
    const LazyFlags before = cpu.state.lazy;
    LazyFlags after;
    const auto operation = [&](T a) {
        after = before;
        return n == 0 ? a : shift_double<Left>(after, a, b, n);
    };
    if (!update<D, T>(cpu, i, i.dest, operation)) return Flow::fault;
    cpu.state.lazy = after;
    return Flow::next;
}

template <bool Left> Handler select_double_shift(const Form& f) {
    const bool by_cl = f.is(2, OperandKind::gpr);
    return by_wide_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0), [&]<Where D>() -> Handler {
            return by_cl ? handler_for<D, double_shift<Left, T, D, true>, double_shift<Left, T, general(D), true>>()
                         : handler_for<D, double_shift<Left, T, D, false>, double_shift<Left, T, general(D), false>>();
        });
    });
}

} // namespace

Handler select_shl(const Form& f) { return select_shift<Shl>(f); }
Handler select_shr(const Form& f) { return select_shift<Shr>(f); }
Handler select_sar(const Form& f) { return select_shift<Sar>(f); }
Handler select_rol(const Form& f) { return select_shift<Rol>(f); }
Handler select_ror(const Form& f) { return select_shift<Ror>(f); }
Handler select_rcl(const Form& f) { return select_shift<Rcl>(f); }
Handler select_rcr(const Form& f) { return select_shift<Rcr>(f); }
Handler select_shld(const Form& f) { return select_double_shift<true>(f); }
Handler select_shrd(const Form& f) { return select_double_shift<false>(f); }

} // namespace calque::cpu
