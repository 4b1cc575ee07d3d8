// FCOM, FUCOM, FICOM, FCOMI, FTST, FXAM.
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

using fp::F80;
using fp::Relation;
using fp::Status;

enum class Quiet : bool { no, yes };

template <Quiet Q> inline Relation relate(F80 a, F80 b, Status& s) {
    return Q == Quiet::yes ? fp::compare_quiet(a, b, s) : fp::compare_signaling(a, b, s);
}

// C3, C2 and C0 stand where ZF, PF and CF do, shifted by 8; C1 is cleared.
inline void set_conditions(X87State& x, Relation relation) {
    x.status = static_cast<u16>((x.status & ~fsw_conditions) | ((static_cast<u16>(relation) & 1) ? fsw_c0 : 0)
                                | ((static_cast<u16>(relation) & 2) ? fsw_c2 : 0)
                                | ((static_cast<u16>(relation) & 4) ? fsw_c3 : 0));
}

template <unsigned Pops> inline void pop_all(X87State& x) {
    for (unsigned n = 0; n < Pops; ++n)
        pop(x);
}

// The stack register compared with ST0 is the last operand; FCOMPP and FUCOMPP have none and take ST1.
template <Quiet Q, unsigned Pops, u8 Instruction::*Source> Flow with_register(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    const unsigned other = Pops == 2 ? 1 : i.*Source;
    if (empty(x, 0) || empty(x, other)) [[unlikely]] {
        const bool masked = underflow(x);
        set_conditions(x, Relation::Unordered);
        if (!masked) return Flow::next;
    } else {
        Status s = status_of(x);
        const Relation relation = relate<Q>(get(x, 0), get(x, other), s);
        report(x, s);
        set_conditions(x, relation);
        if (!s.writes_register()) [[unlikely]]
            return Flow::next;
    }
    pop_all<Pops>(x);
    return Flow::next;
}

inline F80 widen(u32 bits, Status& s) { return fp::widen_operand(fp::F32{bits}, s); }
inline F80 widen(u64 bits, Status& s) { return fp::widen_operand(fp::F64{bits}, s); }
inline F80 widen(i16 value, Status&) { return fp::f80_from_int(value); }
inline F80 widen(i32 value, Status&) { return fp::f80_from_int(value); }

template <class T, unsigned Pops> Flow with_memory(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    T raw;
    if (!read_operand(cpu, i, raw)) return Flow::fault;
    if (empty(x, 0)) [[unlikely]] {
        const bool masked = underflow(x);
        set_conditions(x, Relation::Unordered);
        if (!masked) return Flow::next;
    } else {
        Status s = status_of(x);
        const F80 operand = widen(raw, s);
        const Relation relation = fp::compare_signaling(get(x, 0), operand, s);
        report(x, s);
        set_conditions(x, relation);
        if (!s.writes_register()) [[unlikely]]
            return Flow::next;
    }
    pop_all<Pops>(x);
    return Flow::next;
}

// FCOMI and its like: the relation goes to ZF, PF and CF; OF, SF and AF are cleared.
inline void set_flags(CpuState& state, Relation relation) {
    const unsigned r = static_cast<unsigned>(relation);
    state.lazy = lazy_from_bits((r & 1 ? flag_cf : 0) | (r & 2 ? flag_pf : 0) | (r & 4 ? flag_zf : 0));
}

template <Quiet Q, unsigned Pops> Flow to_flags(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0) || empty(x, i.source)) [[unlikely]] {
        const bool masked = underflow(x);
        set_flags(cpu.state, Relation::Unordered);
        if (!masked) return Flow::next;
    } else {
        Status s = status_of(x);
        const Relation relation = relate<Q>(get(x, 0), get(x, i.source), s);
        report_flags(x, s);
        set_flags(cpu.state, relation);
        if (!s.writes_register()) [[unlikely]]
            return Flow::next;
    }
    pop_all<Pops>(x);
    return Flow::next;
}

Flow test(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0)) [[unlikely]] {
        underflow(x);
        set_conditions(x, Relation::Unordered);
        return Flow::next;
    }
    Status s = status_of(x);
    const Relation relation = fp::compare_signaling(get(x, 0), F80{}, s);
    report(x, s);
    set_conditions(x, relation);
    return Flow::next;
}

// SDM volume 2, FXAM, table 3-42.
u16 class_conditions(fp::F80Class c) {
    switch (c) {
    case fp::F80Class::Unsupported: return 0;
    case fp::F80Class::Nan: return fsw_c0;
    case fp::F80Class::Normal: return fsw_c2;
    case fp::F80Class::Infinity: return fsw_c2 | fsw_c0;
    case fp::F80Class::Zero: return fsw_c3;
    case fp::F80Class::Denormal: return fsw_c3 | fsw_c2;
    }
    return 0;
}

Flow examine(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    const F80 value = get(x, 0);
    const u16 kind = empty(x, 0) ? u16{fsw_c3 | fsw_c0} : class_conditions(fp::classify(value));
    x.status = static_cast<u16>((x.status & ~fsw_conditions) | kind | (value.sign() ? fsw_c1 : 0));
    return Flow::next;
}

template <unsigned Pops> Handler select_ordered(const Form& f) {
    if (f.memory(0))
        return f.size[0] == 4 ? threaded<waiting<with_memory<u32, Pops>>> : threaded<waiting<with_memory<u64, Pops>>>;
    return threaded<numeric<with_register<Quiet::no, Pops, &Instruction::dest>>>;
}
// FUCOMP alone is decoded with ST0 as an operand of its own.
template <unsigned Pops> Handler select_unordered(const Form& f) {
    if (f.count == 2) return threaded<numeric<with_register<Quiet::yes, Pops, &Instruction::source>>>;
    return threaded<numeric<with_register<Quiet::yes, Pops, &Instruction::dest>>>;
}
template <unsigned Pops> Handler select_integer(const Form& f) {
    return f.size[0] == 2 ? threaded<waiting<with_memory<i16, Pops>>> : threaded<waiting<with_memory<i32, Pops>>>;
}

} // namespace

Handler fcom(const Form& f) { return select_ordered<0>(f); }
Handler fcomp(const Form& f) { return select_ordered<1>(f); }
Handler fcompp(const Form& f) { return select_ordered<2>(f); }
Handler fucom(const Form& f) { return select_unordered<0>(f); }
Handler fucomp(const Form& f) { return select_unordered<1>(f); }
Handler fucompp(const Form& f) { return select_unordered<2>(f); }
Handler ficom(const Form& f) { return select_integer<0>(f); }
Handler ficomp(const Form& f) { return select_integer<1>(f); }
Handler fcomi(const Form&) { return threaded<numeric<to_flags<Quiet::no, 0>>>; }
Handler fcomip(const Form&) { return threaded<numeric<to_flags<Quiet::no, 1>>>; }
Handler fucomi(const Form&) { return threaded<numeric<to_flags<Quiet::yes, 0>>>; }
Handler fucomip(const Form&) { return threaded<numeric<to_flags<Quiet::yes, 1>>>; }
Handler ftst(const Form&) { return threaded<numeric<test>>; }
Handler fxam(const Form&) { return threaded<numeric<examine>>; }

} // namespace calque::cpu::x87
