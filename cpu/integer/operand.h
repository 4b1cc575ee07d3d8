// Addressing for integer instructions: where an operand is, as a template parameter, and how it is read and written.
#pragma once

#include "cpu/table.h"
#include "cpu/threaded.h"

namespace calque::cpu {

// `mem` is any memory operand; `flat` one that needs no segment and no address mask, and is not LOCKed. An operation on
// a flat operand does what the TLB has at once, or nothing: it is the fast half of a handler_for() handler.
enum class Where : u8 { reg, mem, flat, imm };

template <Where W, class T> [[nodiscard]] inline bool load(Cpu& cpu, const Instruction& i, unsigned number, T& out) {
    if constexpr (W == Where::reg) {
        out = cpu.gpr<T>(number);
        return true;
    } else if constexpr (W == Where::imm) {
        out = static_cast<T>(i.immediate);
        return true;
    } else if constexpr (W == Where::flat) {
        return cpu.try_load(cpu.flat_address(i), out);
    } else {
        return cpu.read_operand(i, out);
    }
}

template <Where W, class T> [[nodiscard]] inline bool store(Cpu& cpu, const Instruction& i, unsigned number, T value) {
    if constexpr (W == Where::reg) {
        cpu.set_gpr<T>(number, value);
        return true;
    } else if constexpr (W == Where::flat) {
        return cpu.try_store(cpu.flat_address(i), value);
    } else {
        return cpu.write_operand(i, value);
    }
}

// operand = operation(operand). For memory, atomically with LOCK; `operation` may then run more than once, and must
// leave what it computes besides in locals.
template <Where W, class T, class F>
[[nodiscard]] inline bool update(Cpu& cpu, const Instruction& i, unsigned number, F operation) {
    if constexpr (W == Where::reg) {
        cpu.set_gpr<T>(number, operation(cpu.gpr<T>(number)));
        return true;
    } else if constexpr (W == Where::flat) {
        u8* const host = cpu.try_host_for_write(cpu.flat_address(i), sizeof(T));
        if (!host) [[unlikely]]
            return false;
        mmu::store_guest<T>(host, operation(mmu::load_guest<T>(host)));
        return true;
    } else {
        return cpu.modify<T>(i.segment(), effective_address(cpu.state, i), i.lock(), operation);
    }
}

constexpr Where general(Where w) { return w == Where::flat ? Where::mem : w; }

// The handler of an operation whose operand is at W: `fast` is the operation at W, `slow` the one at general(W).
template <Where W, Operation fast, Operation slow> constexpr Handler handler_for() {
    if constexpr (W == Where::flat)
        return threaded_or<fast, slow>;
    else
        return threaded<fast>;
}

// Where operand n of a form is.
inline Where where(const Form& f, unsigned n) {
    if (f.memory(n)) return f.flat && !(f.flags & insn_lock) ? Where::flat : Where::mem;
    return f.is(n, OperandKind::immediate) ? Where::imm : Where::reg;
}

// Calls pick.template operator()<T>() with the unsigned type of `size` bytes; null for other sizes.
template <class F> Handler by_size(unsigned size, F pick) {
    switch (size) {
    case 1: return pick.template operator()<u8>();
    case 2: return pick.template operator()<u16>();
    case 4: return pick.template operator()<u32>();
    case 8: return pick.template operator()<u64>();
    default: return nullptr;
    }
}
template <class F> Handler by_wide_size(unsigned size, F pick) { return size == 1 ? nullptr : by_size(size, pick); }
// Calls pick.template operator()<Where>() for a register or memory operand.
template <class F> Handler by_where(Where w, F pick) {
    switch (w) {
    case Where::reg: return pick.template operator()<Where::reg>();
    case Where::mem: return pick.template operator()<Where::mem>();
    case Where::flat: return pick.template operator()<Where::flat>();
    default: return nullptr;
    }
}

template <class T> constexpr unsigned bits_of = sizeof(T) * 8;
template <class T> constexpr bool top_bit(T v) { return (v >> (bits_of<T> - 1)) & 1; }

// Flags of a result with given CF, OF and AF.
template <class T> constexpr LazyFlags flags_of(T result, bool carry, bool overflow, bool adjust) {
    return {lazy_result(result), (u64{carry} << 63) | (u64{carry != overflow} << 62) | (adjust ? lazy_af : 0)};
}
// `f` with CF and OF replaced.
constexpr LazyFlags with_cf_of(LazyFlags f, bool carry, bool overflow) {
    f.carries &= ~(lazy_cf | lazy_carry_in);
    f.carries |= (u64{carry} << 63) | (u64{carry != overflow} << 62);
    return f;
}

} // namespace calque::cpu
