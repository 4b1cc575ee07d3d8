// Instructions that move or mark registers: FXCH, FCMOVcc, FFREE, FINCSTP, FDECSTP, FABS, FCHS, FNOP.
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

using fp::F80;

inline void clear_c1(X87State& x) { x.status &= static_cast<u16>(~fsw_c1); }

Flow exchange(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    F80 a = get(x, 0);
    F80 b = get(x, i.dest);
    if (empty(x, 0) || empty(x, i.dest)) [[unlikely]] {
        if (!underflow(x)) return Flow::next;
        if (empty(x, 0)) a = fp::kDefaultNan80;
        if (empty(x, i.dest)) b = fp::kDefaultNan80;
    } else {
        clear_c1(x);
    }
    put(x, 0, b);
    put(x, i.dest, a);
    return Flow::next;
}

template <unsigned Condition> Flow conditional_move(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0) || empty(x, i.source)) [[unlikely]] {
        if (underflow(x)) put(x, 0, fp::kDefaultNan80);
        return Flow::next;
    }
    if (condition<Condition>(cpu.state.lazy)) put(x, 0, get(x, i.source));
    return Flow::next;
}

Flow free_register(Cpu& cpu, const Instruction& i) {
    clear_c1(cpu.state.x87);
    release(cpu.state.x87, i.dest);
    return Flow::next;
}
// DF C0 to C7: FFREE, then a pop.
Flow free_and_pop(Cpu& cpu, const Instruction& i) {
    clear_c1(cpu.state.x87);
    release(cpu.state.x87, i.dest);
    pop(cpu.state.x87);
    return Flow::next;
}

template <int Step> Flow move_top(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    x.set_top(x.top() + static_cast<unsigned>(Step));
    clear_c1(x);
    return Flow::next;
}

template <u16 Keep, u16 Flip> Flow change_sign(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0)) [[unlikely]] {
        if (underflow(x)) put(x, 0, fp::kDefaultNan80);
        return Flow::next;
    }
    clear_c1(x);
    u16& sign_exponent = x.reg[physical(x, 0)].sign_exponent;
    sign_exponent = static_cast<u16>((sign_exponent & Keep) ^ Flip);
    return Flow::next;
}

Flow nothing(Cpu&, const Instruction&) { return Flow::next; }

template <unsigned Condition> Handler move_if() { return threaded<numeric<conditional_move<Condition>>>; }

} // namespace

Handler fxch(const Form&) { return threaded<numeric<exchange>>; }
// Conditions as in Jcc: B, E, BE and P, each with its opposite.
Handler fcmovb(const Form&) { return move_if<2>(); }
Handler fcmovnb(const Form&) { return move_if<3>(); }
Handler fcmove(const Form&) { return move_if<4>(); }
Handler fcmovne(const Form&) { return move_if<5>(); }
Handler fcmovbe(const Form&) { return move_if<6>(); }
Handler fcmovnbe(const Form&) { return move_if<7>(); }
Handler fcmovu(const Form&) { return move_if<10>(); }
Handler fcmovnu(const Form&) { return move_if<11>(); }
Handler ffree(const Form&) { return threaded<numeric<free_register>>; }
Handler ffreep(const Form&) { return threaded<numeric<free_and_pop>>; }
Handler fincstp(const Form&) { return threaded<numeric<move_top<1>>>; }
Handler fdecstp(const Form&) { return threaded<numeric<move_top<-1>>>; }
Handler fabs(const Form&) { return threaded<numeric<change_sign<0x7FFF, 0>>>; }
Handler fchs(const Form&) { return threaded<numeric<change_sign<0xFFFF, 0x8000>>>; }
Handler fnop(const Form&) { return threaded<numeric<nothing>>; }

} // namespace calque::cpu::x87
