// FLD, FILD, FBLD and the constants.
#include "cpu/fp/transcendental.h"
#include "cpu/x87/memory.h"
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

using fp::F80;
using fp::Status;

// Pushes `value` if there is room. `s` is the conversion's, reported only when the push takes place.
Flow push_converted(X87State& x, F80 value, const Status& s) {
    if (!empty(x, 7)) [[unlikely]] {
        if (overflow(x)) push(x, fp::kDefaultNan80);
        return Flow::next;
    }
    report(x, s);
    // A denormal is loaded even when unmasked; a signalling NaN is not.
    if (!s.unmasked(s.flags & fp::kInvalid)) [[likely]]
        push(x, value);
    return Flow::next;
}

inline F80 convert(u32 bits, Status& s) { return fp::to_f80(fp::F32{bits}, s); }
inline F80 convert(u64 bits, Status& s) { return fp::to_f80(fp::F64{bits}, s); }
inline F80 convert(const Tbyte& bytes, Status&) { return from_tbyte(bytes); }
inline F80 convert(i16 value, Status&) { return fp::f80_from_int(value); }
inline F80 convert(i32 value, Status&) { return fp::f80_from_int(value); }
inline F80 convert(i64 value, Status&) { return fp::f80_from_int(value); }
inline F80 convert(const fp::PackedBcd& bcd, Status&) { return fp::f80_from_bcd(bcd); }

template <class T> Flow load(Cpu& cpu, const Instruction& i) {
    T raw;
    if (!read_operand(cpu, i, raw)) return Flow::fault;
    Status s = status_of(cpu.state.x87);
    const F80 value = convert(raw, s);
    return push_converted(cpu.state.x87, value, s);
}

Flow load_register(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    if (empty(x, i.dest)) [[unlikely]] {
        if (underflow(x)) push(x, fp::kDefaultNan80);
        return Flow::next;
    }
    if (!empty(x, 7)) [[unlikely]] {
        if (overflow(x)) push(x, fp::kDefaultNan80);
        return Flow::next;
    }
    x.status &= static_cast<u16>(~fsw_c1);
    push(x, get(x, i.dest));
    return Flow::next;
}

template <fp::Constant Which> Flow load_constant(Cpu& cpu, const Instruction&) {
    const Status s = status_of(cpu.state.x87);
    return push_converted(cpu.state.x87, fp::constant(Which, s.rounding), s);
}

} // namespace

Handler fld(const Form& f) {
    if (!f.memory(0)) return threaded<numeric<load_register>>;
    switch (f.size[0]) {
    case 4: return threaded<waiting<load<u32>>>;
    case 8: return threaded<waiting<load<u64>>>;
    default: return threaded<waiting<load<Tbyte>>>;
    }
}
Handler fild(const Form& f) {
    switch (f.size[0]) {
    case 2: return threaded<waiting<load<i16>>>;
    case 4: return threaded<waiting<load<i32>>>;
    default: return threaded<waiting<load<i64>>>;
    }
}
Handler fbld(const Form&) { return threaded<waiting<load<fp::PackedBcd>>>; }
Handler fld1(const Form&) { return threaded<numeric<load_constant<fp::Constant::One>>>; }
Handler fldl2t(const Form&) { return threaded<numeric<load_constant<fp::Constant::Log2Of10>>>; }
Handler fldl2e(const Form&) { return threaded<numeric<load_constant<fp::Constant::Log2OfE>>>; }
Handler fldpi(const Form&) { return threaded<numeric<load_constant<fp::Constant::Pi>>>; }
Handler fldlg2(const Form&) { return threaded<numeric<load_constant<fp::Constant::Log10Of2>>>; }
Handler fldln2(const Form&) { return threaded<numeric<load_constant<fp::Constant::LnOf2>>>; }
Handler fldz(const Form&) { return threaded<numeric<load_constant<fp::Constant::Zero>>>; }

} // namespace calque::cpu::x87
