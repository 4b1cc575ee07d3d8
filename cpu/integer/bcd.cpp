// Decimal adjustment: AAA, AAS, AAM, AAD, DAA, DAS (SDM volume 2; 16- and 32-bit code only). Flags left undefined are
// as on AMD's Zen 4, where they are those of the addition or subtraction that the adjustment comes down to.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

// `f` with CF and AF replaced; OF, SF, ZF and PF stay those of the sum.
LazyFlags with_decimal_carry(const LazyFlags& f, bool carry, bool adjust) {
    const u64 others = arithmetic_bits(f) & ~(flag_cf | flag_af);
    return lazy_from_bits(others | (carry ? flag_cf : 0) | (adjust ? flag_af : 0));
}
template <bool Subtract, class T> T adjusted(LazyFlags& f, T value, T step) {
    const T r = static_cast<T>(Subtract ? value - step : value + step);
    f = Subtract ? flags_sub(value, step, r) : flags_add(value, step, r);
    return r;
}

template <bool Subtract> Flow ascii_adjust(Cpu& cpu, const Instruction&) {
    const u16 ax = cpu.gpr<u16>(rax);
    const bool adjust = (ax & 0xF) > 9 || af(cpu.state.lazy);
    LazyFlags f;
    const u16 sum = adjusted<Subtract>(f, ax, static_cast<u16>(adjust ? 0x106 : 0));
    cpu.gpr<u16>(rax) = sum & 0xFF0F;
    cpu.state.lazy = with_decimal_carry(f, adjust, adjust);
    return Flow::next;
}

template <bool Subtract> Flow decimal_adjust(Cpu& cpu, const Instruction&) {
    const u8 al = cpu.gpr<u8>(rax);
    const bool low = (al & 0xF) > 9 || af(cpu.state.lazy);
    const bool high = al > 0x99 || cf(cpu.state.lazy);
    LazyFlags f;
    cpu.gpr<u8>(rax) = adjusted<Subtract>(f, al, static_cast<u8>((low ? 6 : 0) + (high ? 0x60 : 0)));
    // The borrow of the low step counts for DAS: AL below 6 leaves a carry.
    cpu.state.lazy = with_decimal_carry(f, high || (Subtract && low && al < 6), low);
    return Flow::next;
}

Flow aam(Cpu& cpu, const Instruction& i) {
    const u8 base = static_cast<u8>(i.immediate);
    if (base == 0) return cpu.raise(Vector::divide_error);
    const u8 al = cpu.gpr<u8>(rax);
    const u8 rest = al % base;
    cpu.gpr<u16>(rax) = static_cast<u16>(((al / base) << 8) | rest);
    cpu.state.lazy = flags_logic(rest);
    return Flow::next;
}
Flow aad(Cpu& cpu, const Instruction& i) {
    const u8 tens = static_cast<u8>(cpu.gpr<u8>(rax | high_byte) * static_cast<u8>(i.immediate));
    LazyFlags f;
    cpu.gpr<u16>(rax) = adjusted<false>(f, cpu.gpr<u8>(rax), tens);
    cpu.state.lazy = f;
    return Flow::next;
}

} // namespace

Handler select_aaa(const Form&) { return threaded<ascii_adjust<false>>; }
Handler select_aas(const Form&) { return threaded<ascii_adjust<true>>; }
Handler select_daa(const Form&) { return threaded<decimal_adjust<false>>; }
Handler select_das(const Form&) { return threaded<decimal_adjust<true>>; }
Handler select_aam(const Form&) { return threaded<aam>; }
Handler select_aad(const Form&) { return threaded<aad>; }

} // namespace calque::cpu
