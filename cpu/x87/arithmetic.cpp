// FADD, FSUB, FMUL, FDIV in all their forms.
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

using fp::F80;
using fp::Status;

struct Add {
    static F80 apply(F80 a, F80 b, Status& s) { return fp::add(a, b, s); }
};
struct Sub {
    static F80 apply(F80 a, F80 b, Status& s) { return fp::sub(a, b, s); }
};
struct SubR {
    static F80 apply(F80 a, F80 b, Status& s) { return fp::sub(b, a, s); }
};
struct Mul {
    static F80 apply(F80 a, F80 b, Status& s) { return fp::mul(a, b, s); }
};
struct Div {
    static F80 apply(F80 a, F80 b, Status& s) { return fp::div(a, b, s); }
};
struct DivR {
    static F80 apply(F80 a, F80 b, Status& s) { return fp::div(b, a, s); }
};

// ST(dest) = ST(dest) op ST(source).
template <class Op, bool Pop> Flow on_registers(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    if (empty(x, i.dest) || empty(x, i.source)) [[unlikely]] {
        if (!underflow(x)) return Flow::next;
        put(x, i.dest, fp::kDefaultNan80);
    } else {
        Status s = status_of(x);
        const F80 result = Op::apply(get(x, i.dest), get(x, i.source), s);
        report(x, s);
        if (!s.writes_register()) [[unlikely]]
            return Flow::next;
        put(x, i.dest, result);
    }
    if constexpr (Pop) pop(x);
    return Flow::next;
}

inline F80 widen(u32 bits, Status& s) { return fp::widen_operand(fp::F32{bits}, s); }
inline F80 widen(u64 bits, Status& s) { return fp::widen_operand(fp::F64{bits}, s); }
inline F80 widen(i16 value, Status&) { return fp::f80_from_int(value); }
inline F80 widen(i32 value, Status&) { return fp::f80_from_int(value); }

// ST0 = ST0 op memory.
template <class Op, class T> Flow on_memory(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    T raw;
    if (!read_operand(cpu, i, raw)) return Flow::fault;
    if (empty(x, 0)) [[unlikely]] {
        if (underflow(x)) put(x, 0, fp::kDefaultNan80);
        return Flow::next;
    }
    Status s = status_of(x);
    const F80 operand = widen(raw, s);
    const F80 result = Op::apply(get(x, 0), operand, s);
    report(x, s);
    if (s.writes_register()) [[likely]]
        put(x, 0, result);
    return Flow::next;
}

template <class Op> Handler select(const Form& f) {
    if (!f.memory(0)) return threaded<numeric<on_registers<Op, false>>>;
    return f.size[0] == 4 ? threaded<waiting<on_memory<Op, u32>>> : threaded<waiting<on_memory<Op, u64>>>;
}
template <class Op> Handler select_pop(const Form&) { return threaded<numeric<on_registers<Op, true>>>; }
template <class Op> Handler select_integer(const Form& f) {
    return f.size[0] == 2 ? threaded<waiting<on_memory<Op, i16>>> : threaded<waiting<on_memory<Op, i32>>>;
}

} // namespace

Handler fadd(const Form& f) { return select<Add>(f); }
Handler fsub(const Form& f) { return select<Sub>(f); }
Handler fsubr(const Form& f) { return select<SubR>(f); }
Handler fmul(const Form& f) { return select<Mul>(f); }
Handler fdiv(const Form& f) { return select<Div>(f); }
Handler fdivr(const Form& f) { return select<DivR>(f); }
Handler faddp(const Form& f) { return select_pop<Add>(f); }
Handler fsubp(const Form& f) { return select_pop<Sub>(f); }
Handler fsubrp(const Form& f) { return select_pop<SubR>(f); }
Handler fmulp(const Form& f) { return select_pop<Mul>(f); }
Handler fdivp(const Form& f) { return select_pop<Div>(f); }
Handler fdivrp(const Form& f) { return select_pop<DivR>(f); }
Handler fiadd(const Form& f) { return select_integer<Add>(f); }
Handler fisub(const Form& f) { return select_integer<Sub>(f); }
Handler fisubr(const Form& f) { return select_integer<SubR>(f); }
Handler fimul(const Form& f) { return select_integer<Mul>(f); }
Handler fidiv(const Form& f) { return select_integer<Div>(f); }
Handler fidivr(const Form& f) { return select_integer<DivR>(f); }

} // namespace calque::cpu::x87
