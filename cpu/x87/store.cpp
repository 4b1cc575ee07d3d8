// FST, FIST, FISTTP, FBSTP.
#include "cpu/x87/memory.h"
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

#include <limits>

namespace calque::cpu::x87 {

namespace {

using fp::F80;
using fp::Status;

// A destination format: what memory gets of a number, and of an empty register when that is masked.
struct ToF32 {
    static u32 convert(F80 a, Status& s) { return fp::to_f32(a, s).bits; }
    static u32 indefinite() { return fp::kDefaultNan32.bits; }
};
struct ToF64 {
    static u64 convert(F80 a, Status& s) { return fp::to_f64(a, s).bits; }
    static u64 indefinite() { return fp::kDefaultNan64.bits; }
};
struct ToTbyte {
    static Tbyte convert(F80 a, Status&) { return to_tbyte(a); }
    static Tbyte indefinite() { return to_tbyte(fp::kDefaultNan80); }
};
struct ToBcd {
    static fp::PackedBcd convert(F80 a, Status& s) { return fp::to_bcd(a, s); }
    static fp::PackedBcd indefinite() { return {{0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF}}; }
};
template <class Int, bool Truncate> struct ToInt {
    static Int convert(F80 a, Status& s) {
        const fp::Rounding rounding = Truncate ? fp::Rounding::TowardZero : s.rounding;
        if constexpr (sizeof(Int) == 2)
            return fp::to_i16(a, rounding, s);
        else if constexpr (sizeof(Int) == 4)
            return fp::to_i32(a, rounding, s);
        else
            return fp::to_i64(a, rounding, s);
    }
    static Int indefinite() { return std::numeric_limits<Int>::min(); }
};

// The destination's own faults come before the operation's, also when nothing is then written.
[[nodiscard]] bool writable(Cpu& cpu, const Instruction& i, u64 size) {
    LinearAddress address;
    if (!cpu.linear(i.segment(), effective_address(cpu.state, i), size, mmu::Access::write, address)) return false;
    if (cpu.mmu.probe_write(address, size)) return true;
    cpu.raise_memory_fault(i.segment());
    return false;
}

template <class To, bool Pop> Flow store(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0)) [[unlikely]] {
        if (!invalid_masked(x) && !writable(cpu, i, sizeof(To::indefinite()))) return Flow::fault;
        if (invalid_masked(x) && !write_operand(cpu, i, To::indefinite())) return Flow::fault;
        note_written(cpu, i);
        if (!underflow(x)) return Flow::next;
    } else {
        Status s = status_of(x);
        const auto result = To::convert(get(x, 0), s);
        const bool writes = s.writes_memory();
        if (!writes && !writable(cpu, i, sizeof result)) return Flow::fault;
        if (writes && !write_operand(cpu, i, result)) return Flow::fault;
        note_written(cpu, i);
        report(x, s);
        if (!writes) [[unlikely]]
            return Flow::next;
    }
    if constexpr (Pop) pop(x);
    return Flow::next;
}

template <bool Pop> Flow store_register(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    if (empty(x, 0)) [[unlikely]] {
        if (!underflow(x)) return Flow::next;
        put(x, i.dest, fp::kDefaultNan80);
    } else {
        x.status &= static_cast<u16>(~fsw_c1);
        put(x, i.dest, get(x, 0));
    }
    if constexpr (Pop) pop(x);
    return Flow::next;
}

// D9 D8 to DF, which no manual has: FSTP ST(i) that takes an empty ST0 without a fault and then stores nothing.
Flow store_register_unchecked(Cpu& cpu, const Instruction& i) {
    X87State& x = cpu.state.x87;
    x.status &= static_cast<u16>(~fsw_c1);
    if (!empty(x, 0)) put(x, i.dest, get(x, 0));
    pop(x);
    return Flow::next;
}

template <bool Pop> Handler select(const Form& f) {
    if (!f.memory(0)) return threaded<numeric<store_register<Pop>>>;
    switch (f.size[0]) {
    case 4: return threaded<waiting<store<ToF32, Pop>>>;
    case 8: return threaded<waiting<store<ToF64, Pop>>>;
    default: return threaded<waiting<store<ToTbyte, Pop>>>;
    }
}
template <bool Truncate, bool Pop> Handler select_integer(const Form& f) {
    switch (f.size[0]) {
    case 2: return threaded<waiting<store<ToInt<i16, Truncate>, Pop>>>;
    case 4: return threaded<waiting<store<ToInt<i32, Truncate>, Pop>>>;
    default: return threaded<waiting<store<ToInt<i64, Truncate>, Pop>>>;
    }
}

} // namespace

Handler fst(const Form& f) { return select<false>(f); }
Handler fstp(const Form& f) { return select<true>(f); }
Handler fstpnce(const Form&) { return threaded<numeric<store_register_unchecked>>; }
Handler fist(const Form& f) { return select_integer<false, false>(f); }
Handler fistp(const Form& f) { return select_integer<false, true>(f); }
Handler fisttp(const Form& f) { return select_integer<true, true>(f); }
Handler fbstp(const Form&) { return threaded<waiting<store<ToBcd, true>>>; }

} // namespace calque::cpu::x87
