// BMI1 and BMI2 but for MULX, LZCNT and TZCNT. Flags left undefined are as on AMD's Zen 4.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

// Logical flags with a given CF.
template <class T> LazyFlags logic_with_cf(T r, bool carry) { return with_cf_of(flags_logic(r), carry, false); }

template <class T, Where S> Flow andn(Cpu& cpu, const Instruction& i) {
    T b;
    if (!load<S, T>(cpu, i, i.third, b)) return Flow::fault;
    const T r = static_cast<T>(~cpu.gpr<T>(i.source) & b);
    cpu.set_gpr<T>(i.dest, r);
    cpu.state.lazy = flags_logic(r);
    return Flow::next;
}
// SF is clear and AF set, whatever the result.
template <class T, Where S> Flow bextr(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    const T control = cpu.gpr<T>(i.third);
    const unsigned start = control & 0xFF, length = (control >> 8) & 0xFF;
    T r = start >= bits_of<T> ? T{0} : static_cast<T>(a >> start);
    if (length < bits_of<T>) r &= static_cast<T>((T{1} << length) - 1);
    cpu.set_gpr<T>(i.dest, r);
    cpu.state.lazy = lazy_from_bits((r == 0 ? flag_zf : 0) | (pf(flags_logic(r)) ? flag_pf : 0) | flag_af);
    return Flow::next;
}
template <class T, Where S> Flow bzhi(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    const unsigned n = cpu.gpr<T>(i.third) & 0xFF;
    const T r = n < bits_of<T> ? static_cast<T>(a & ((T{1} << n) - 1)) : a;
    cpu.set_gpr<T>(i.dest, r);
    cpu.state.lazy = logic_with_cf(r, n >= bits_of<T>);
    return Flow::next;
}

enum class LowestBit : u8 { isolate, reset, mask };
template <LowestBit Op, class T, Where S> Flow lowest_bit(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    T r;
    if constexpr (Op == LowestBit::isolate) r = static_cast<T>(a & -a);
    if constexpr (Op == LowestBit::reset) r = static_cast<T>(a & (a - 1));
    if constexpr (Op == LowestBit::mask) r = static_cast<T>(a ^ (a - 1));
    cpu.set_gpr<T>(i.dest, r);
    cpu.state.lazy = logic_with_cf(r, Op == LowestBit::isolate ? a != 0 : a == 0);
    return Flow::next;
}

template <class T> T deposit(T value, T mask) {
    T r = 0;
    for (; mask != 0; mask &= static_cast<T>(mask - 1), value >>= 1)
        if (value & 1) r |= static_cast<T>(mask & -mask);
    return r;
}
template <class T> T extract(T value, T mask) {
    T r = 0;
    for (unsigned n = 0; mask != 0; mask &= static_cast<T>(mask - 1), ++n)
        if (value & mask & -mask) r |= static_cast<T>(T{1} << n);
    return r;
}
template <bool Deposit, class T, Where S> Flow parallel_bits(Cpu& cpu, const Instruction& i) {
    T mask;
    if (!load<S, T>(cpu, i, i.third, mask)) return Flow::fault;
    const T value = cpu.gpr<T>(i.source);
    cpu.set_gpr<T>(i.dest, Deposit ? deposit(value, mask) : extract(value, mask));
    return Flow::next;
}

template <class T, Where S> Flow rorx(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    const unsigned n = i.immediate & (bits_of<T> - 1);
    cpu.set_gpr<T>(i.dest, n == 0 ? a : static_cast<T>((a >> n) | (a << (bits_of<T> - n))));
    return Flow::next;
}
enum class ShiftX : u8 { left, right, arithmetic };
template <ShiftX Op, class T, Where S> Flow shift_x(Cpu& cpu, const Instruction& i) {
    T a;
    if (!load<S, T>(cpu, i, i.source, a)) return Flow::fault;
    const unsigned n = cpu.gpr<T>(i.third) & (bits_of<T> - 1);
    T r;
    if constexpr (Op == ShiftX::left) r = static_cast<T>(a << n);
    if constexpr (Op == ShiftX::right) r = static_cast<T>(a >> n);
    if constexpr (Op == ShiftX::arithmetic) r = static_cast<T>(static_cast<std::make_signed_t<T>>(a) >> n);
    cpu.set_gpr<T>(i.dest, r);
    return Flow::next;
}

template <class F> Handler by_vex_size(const Form& f, F pick) {
    return f.size[0] == 8 ? pick.template operator()<u64>() : pick.template operator()<u32>();
}
// A VEX instruction whose operand n may be memory; what follows its name comes before the size and the place.
#define SELECT_VEX(operand, name, ...)                                                                                 \
    by_vex_size(f, [&]<class T>() {                                                                                    \
        return by_where(where(f, operand), [&]<Where S>() -> Handler {                                                 \
            return handler_for<S, name<__VA_ARGS__ T, S>, name<__VA_ARGS__ T, general(S)>>();                          \
        });                                                                                                            \
    })

} // namespace

Handler select_andn(const Form& f) { return SELECT_VEX(2, andn); }
Handler select_bextr(const Form& f) { return SELECT_VEX(1, bextr); }
Handler select_bzhi(const Form& f) { return SELECT_VEX(1, bzhi); }
Handler select_blsi(const Form& f) { return SELECT_VEX(1, lowest_bit, LowestBit::isolate, ); }
Handler select_blsr(const Form& f) { return SELECT_VEX(1, lowest_bit, LowestBit::reset, ); }
Handler select_blsmsk(const Form& f) { return SELECT_VEX(1, lowest_bit, LowestBit::mask, ); }
Handler select_pdep(const Form& f) { return SELECT_VEX(2, parallel_bits, true, ); }
Handler select_pext(const Form& f) { return SELECT_VEX(2, parallel_bits, false, ); }
Handler select_rorx(const Form& f) { return SELECT_VEX(1, rorx); }
Handler select_shlx(const Form& f) { return SELECT_VEX(1, shift_x, ShiftX::left, ); }
Handler select_shrx(const Form& f) { return SELECT_VEX(1, shift_x, ShiftX::right, ); }
Handler select_sarx(const Form& f) { return SELECT_VEX(1, shift_x, ShiftX::arithmetic, ); }
#undef SELECT_VEX

} // namespace calque::cpu
