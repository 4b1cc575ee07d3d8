// FSQRT, FRNDINT, FSCALE, FXTRACT, FPREM and the transcendental instructions.
#include "cpu/fp/transcendental.h"
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

using fp::F80;
using fp::Status;

using Unary = F80 (*)(F80, Status&);
using Binary = F80 (*)(F80, F80, Status&);
using Trigonometric = fp::Trigonometric (*)(F80, Status&);

inline void set_c2(X87State& x, bool on) { x.status = static_cast<u16>((x.status & ~fsw_c2) | (on ? fsw_c2 : 0)); }

// ST0 = f(ST0).
template <Unary Function> Flow unary(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0)) [[unlikely]] {
        if (underflow(x)) put(x, 0, fp::kDefaultNan80);
        return Flow::next;
    }
    Status s = status_of(x);
    const F80 result = Function(get(x, 0), s);
    report(x, s);
    if (s.writes_register()) put(x, 0, result);
    return Flow::next;
}

// ST1 = f(ST1, ST0), then a pop.
template <Binary Function> Flow binary_pop(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0) || empty(x, 1)) [[unlikely]] {
        if (!underflow(x)) return Flow::next;
        put(x, 1, fp::kDefaultNan80);
    } else {
        Status s = status_of(x);
        const F80 result = Function(get(x, 1), get(x, 0), s);
        report(x, s);
        if (!s.writes_register()) return Flow::next;
        put(x, 1, result);
    }
    pop(x);
    return Flow::next;
}

Flow scale_by(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0) || empty(x, 1)) [[unlikely]] {
        if (underflow(x)) put(x, 0, fp::kDefaultNan80);
        return Flow::next;
    }
    Status s = status_of(x);
    const F80 result = fp::scale(get(x, 0), get(x, 1), s);
    report(x, s);
    if (s.writes_register()) put(x, 0, result);
    return Flow::next;
}

template <fp::Remainder (*Function)(F80, F80, Status&)> Flow remainder(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0) || empty(x, 1)) [[unlikely]] {
        set_c2(x, false);
        if (underflow(x)) put(x, 0, fp::kDefaultNan80);
        return Flow::next;
    }
    Status s = status_of(x);
    const fp::Remainder r = Function(get(x, 0), get(x, 1), s);
    report(x, s);
    set_c2(x, !r.complete);
    // Without a quotient C0 and C3 stay.
    if (s.writes_register() && fp::classify(r.value) != fp::F80Class::Nan)
        x.status = static_cast<u16>((x.status & ~(fsw_c0 | fsw_c1 | fsw_c3)) | (r.quotient & 4 ? fsw_c0 : 0)
                                    | (r.quotient & 2 ? fsw_c3 : 0) | (r.quotient & 1 ? fsw_c1 : 0));
    if (s.writes_register()) put(x, 0, r.value);
    return Flow::next;
}

// FSIN, FCOS.
template <Trigonometric Function> Flow trigonometric(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0)) [[unlikely]] {
        set_c2(x, false);
        if (underflow(x)) put(x, 0, fp::kDefaultNan80);
        return Flow::next;
    }
    Status s = status_of(x);
    const fp::Trigonometric result = Function(get(x, 0), s);
    report(x, s);
    set_c2(x, !result.complete);
    if (s.writes_register()) put(x, 0, result.value);
    return Flow::next;
}

// Instructions that replace ST0 and push: both need a full ST0 and room.
bool ready_to_push(X87State& x) {
    if (!empty(x, 0) && empty(x, 7)) [[likely]]
        return true;
    if (empty(x, 0) ? underflow(x) : overflow(x)) {
        put(x, 0, fp::kDefaultNan80);
        push(x, fp::kDefaultNan80);
    }
    return false;
}

Flow tangent_and_one(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    set_c2(x, false);
    if (!ready_to_push(x)) return Flow::next;
    Status s = status_of(x);
    const fp::Trigonometric result = fp::tangent(get(x, 0), s);
    report(x, s);
    set_c2(x, !result.complete);
    if (!result.complete || !s.writes_register()) return Flow::next;
    put(x, 0, result.value);
    const bool nan = fp::classify(result.value) == fp::F80Class::Nan; // then it is pushed too
    push(x, nan ? result.value : fp::constant(fp::Constant::One, s.rounding));
    return Flow::next;
}

Flow sine_and_cosine(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    set_c2(x, false);
    if (!ready_to_push(x)) return Flow::next;
    Status s = status_of(x);
    const fp::SineCosine result = fp::sine_cosine(get(x, 0), s);
    report(x, s);
    set_c2(x, !result.complete);
    if (!result.complete || !s.writes_register()) return Flow::next;
    put(x, 0, result.sine);
    push(x, result.cosine);
    return Flow::next;
}

Flow extract_both(Cpu& cpu, const Instruction&) {
    X87State& x = cpu.state.x87;
    if (!ready_to_push(x)) return Flow::next;
    Status s = status_of(x);
    const fp::Extracted result = fp::extract(get(x, 0), s);
    report(x, s);
    if (!s.writes_register()) return Flow::next;
    put(x, 0, result.exponent);
    push(x, result.significand);
    return Flow::next;
}

} // namespace

Handler fsqrt(const Form&) { return threaded<numeric<unary<fp::sqrt>>>; }
Handler frndint(const Form&) { return threaded<numeric<unary<fp::round_to_integral>>>; }
Handler fscale(const Form&) { return threaded<numeric<scale_by>>; }
Handler fxtract(const Form&) { return threaded<numeric<extract_both>>; }
Handler fprem(const Form&) { return threaded<numeric<remainder<fp::remainder_truncated>>>; }
Handler fprem1(const Form&) { return threaded<numeric<remainder<fp::remainder_nearest>>>; }
Handler f2xm1(const Form&) { return threaded<numeric<unary<fp::exp2_minus_1>>>; }
Handler fyl2x(const Form&) { return threaded<numeric<binary_pop<fp::y_log2_x>>>; }
Handler fyl2xp1(const Form&) { return threaded<numeric<binary_pop<fp::y_log2_x_plus_1>>>; }
Handler fpatan(const Form&) { return threaded<numeric<binary_pop<fp::arctangent>>>; }
Handler fptan(const Form&) { return threaded<numeric<tangent_and_one>>; }
Handler fsin(const Form&) { return threaded<numeric<trigonometric<fp::sine>>>; }
Handler fcos(const Form&) { return threaded<numeric<trigonometric<fp::cosine>>>; }
Handler fsincos(const Form&) { return threaded<numeric<sine_and_cosine>>; }

} // namespace calque::cpu::x87
