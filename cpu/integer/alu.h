// The arithmetic of two-operand instructions: each computes a result and the flags.
#pragma once

#include "cpu/integer/operand.h"

namespace calque::cpu {

struct Add {
    template <class T> static T apply(LazyFlags& f, T a, T b) {
        const T r = static_cast<T>(a + b);
        f = flags_add(a, b, r);
        return r;
    }
};
struct Adc {
    template <class T> static T apply(LazyFlags& f, T a, T b) {
        const T r = static_cast<T>(a + b + cf(f));
        f = flags_add(a, b, r);
        return r;
    }
};
struct Sub {
    template <class T> static T apply(LazyFlags& f, T a, T b) {
        const T r = static_cast<T>(a - b);
        f = flags_sub(a, b, r);
        return r;
    }
};
struct Sbb {
    template <class T> static T apply(LazyFlags& f, T a, T b) {
        const T r = static_cast<T>(a - b - cf(f));
        f = flags_sub(a, b, r);
        return r;
    }
};
struct And {
    template <class T> static T apply(LazyFlags& f, T a, T b) {
        const T r = a & b;
        f = flags_logic(r);
        return r;
    }
};
struct Or {
    template <class T> static T apply(LazyFlags& f, T a, T b) {
        const T r = a | b;
        f = flags_logic(r);
        return r;
    }
};
struct Xor {
    template <class T> static T apply(LazyFlags& f, T a, T b) {
        const T r = a ^ b;
        f = flags_logic(r);
        return r;
    }
};

// destination = destination op source
template <class Op, class T, Where D, Where S> Flow alu(Cpu& cpu, const Instruction& i) {
    T b;
    if (!load<S, T>(cpu, i, i.source, b)) return Flow::fault;
    const LazyFlags before = cpu.state.lazy;
    LazyFlags after;
    const auto operation = [&](T a) {
        after = before;
        return Op::apply(after, a, b);
    };
    if (!update<D, T>(cpu, i, i.dest, operation)) return Flow::fault;
    cpu.state.lazy = after;
    return Flow::next;
}
// Flags only: CMP and TEST.
template <class Op, class T, Where D, Where S> Flow alu_compare(Cpu& cpu, const Instruction& i) {
    T a, b;
    if (!load<D, T>(cpu, i, i.dest, a) || !load<S, T>(cpu, i, i.source, b)) return Flow::fault;
    LazyFlags after;
    Op::apply(after, a, b);
    cpu.state.lazy = after;
    return Flow::next;
}

template <class Op, class T, Where D, Where S, bool Writes> constexpr Handler alu_handler() {
    constexpr Where at = D == Where::flat || S == Where::flat ? Where::flat : D;
    if constexpr (Writes)
        return handler_for<at, alu<Op, T, D, S>, alu<Op, T, general(D), general(S)>>();
    else
        return handler_for<at, alu_compare<Op, T, D, S>, alu_compare<Op, T, general(D), general(S)>>();
}

template <class Op, bool Writes> Handler select_alu(const Form& f) {
    return by_size(f.size[0], [&]<class T>() -> Handler {
        const Where d = where(f, 0), s = where(f, 1);
        if (d == Where::reg) {
            switch (s) {
            case Where::reg: return alu_handler<Op, T, Where::reg, Where::reg, Writes>();
            case Where::mem: return alu_handler<Op, T, Where::reg, Where::mem, Writes>();
            case Where::flat: return alu_handler<Op, T, Where::reg, Where::flat, Writes>();
            case Where::imm: return alu_handler<Op, T, Where::reg, Where::imm, Writes>();
            }
        }
        if (d == Where::flat)
            return s == Where::imm ? alu_handler<Op, T, Where::flat, Where::imm, Writes>()
                                   : alu_handler<Op, T, Where::flat, Where::reg, Writes>();
        return s == Where::imm ? alu_handler<Op, T, Where::mem, Where::imm, Writes>()
                               : alu_handler<Op, T, Where::mem, Where::reg, Writes>();
    });
}

} // namespace calque::cpu
