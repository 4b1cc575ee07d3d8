// Decimal adjustment: AAA, AAS, AAM, AAD, DAA, DAS (SDM volume 2; 16- and 32-bit code only).
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

// SF, ZF and PF of a byte, with AF and CF; OF is cleared.
LazyFlags decimal_flags(u8 result, bool adjust, bool carry) {
    return with_cf_of(flags_of(result, false, false, adjust), carry, false);
}

template <bool Subtract> Flow ascii_adjust(Cpu& cpu, const Instruction&) {
    const u8 al = cpu.gpr<u8>(rax);
    const bool adjust = (al & 0xF) > 9 || af(cpu.state.lazy);
    u16 ax = cpu.gpr<u16>(rax);
    if (adjust) ax = static_cast<u16>(Subtract ? ax - 0x106 : ax + 0x106);
    ax &= 0xFF0F;
    cpu.gpr<u16>(rax) = ax;
    cpu.state.lazy = decimal_flags(static_cast<u8>(ax), adjust, adjust);
    return Flow::next;
}

template <bool Subtract> Flow decimal_adjust(Cpu& cpu, const Instruction&) {
    const u8 old = cpu.gpr<u8>(rax);
    const bool old_carry = cf(cpu.state.lazy);
    const bool low = (old & 0xF) > 9 || af(cpu.state.lazy);
    const bool high = old > 0x99 || old_carry;
    const u8 step = static_cast<u8>((low ? 6 : 0) + (high ? 0x60 : 0));
    const u8 al = static_cast<u8>(Subtract ? old - step : old + step);
    // The borrow of the low step counts for DAS: AL below 6 leaves a carry.
    const bool carry = high || (Subtract && low && old < 6);
    cpu.gpr<u8>(rax) = al;
    cpu.state.lazy = decimal_flags(al, low, carry);
    return Flow::next;
}

Flow aam(Cpu& cpu, const Instruction& i) {
    const u8 base = static_cast<u8>(i.immediate);
    if (base == 0) return cpu.raise(Vector::divide_error);
    const u8 al = cpu.gpr<u8>(rax);
    cpu.gpr<u16>(rax) = static_cast<u16>(((al / base) << 8) | (al % base));
    cpu.state.lazy = decimal_flags(al % base, false, false);
    return Flow::next;
}
Flow aad(Cpu& cpu, const Instruction& i) {
    const u8 al = static_cast<u8>(cpu.gpr<u8>(rax) + cpu.gpr<u8>(rax | high_byte) * static_cast<u8>(i.immediate));
    cpu.gpr<u16>(rax) = al;
    cpu.state.lazy = decimal_flags(al, false, false);
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
