// XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B.
#include "cpu/integer/alu.h"
#include "cpu/integer/rows.h"

namespace calque::cpu {

namespace {

template <class T> Flow xchg_registers(Cpu& cpu, const Instruction& i) {
    const T a = cpu.gpr<T>(i.dest), b = cpu.gpr<T>(i.source);
    cpu.set_gpr<T>(i.dest, b);
    cpu.set_gpr<T>(i.source, a);
    return Flow::next;
}
// With memory it is atomic, LOCK or not.
template <class T, unsigned Register> Flow xchg_memory(Cpu& cpu, const Instruction& i) {
    const unsigned number = Register == 0 ? i.dest : i.source;
    const T value = cpu.gpr<T>(number);
    T old{};
    const auto operation = [&](T a) {
        old = a;
        return value;
    };
    if (!cpu.modify<T>(i.segment(), effective_address(cpu.state, i), true, operation)) return Flow::fault;
    cpu.set_gpr<T>(number, old);
    return Flow::next;
}

template <class T, Where D> Flow xadd(Cpu& cpu, const Instruction& i) {
    const T b = cpu.gpr<T>(i.source);
    T old{};
    LazyFlags after;
    const auto operation = [&](T a) {
        old = a;
        return Add::apply(after, a, b);
    };
    if constexpr (D == Where::reg) {
        // The destination is written last: XADD of a register with itself doubles it.
        const T sum = operation(cpu.gpr<T>(i.dest));
        cpu.set_gpr<T>(i.source, old);
        cpu.set_gpr<T>(i.dest, sum);
    } else {
        if (!update<D, T>(cpu, i, i.dest, operation)) return Flow::fault;
        cpu.set_gpr<T>(i.source, old);
    }
    cpu.state.lazy = after;
    return Flow::next;
}

// Memory is written even when the comparison fails: with what it had. A register destination is then not written, so
// that a 32-bit one keeps its upper half, and the accumulator's upper half is cleared only when it is loaded.
template <class T, Where D> Flow cmpxchg(Cpu& cpu, const Instruction& i) {
    const T expected = cpu.gpr<T>(rax), value = cpu.gpr<T>(i.source);
    T old{};
    if constexpr (D == Where::reg) {
        old = cpu.gpr<T>(i.dest);
        if (old == expected) cpu.set_gpr<T>(i.dest, value);
    } else {
        const auto operation = [&](T a) {
            old = a;
            return a == expected ? value : a;
        };
        if (!update<D, T>(cpu, i, i.dest, operation)) return Flow::fault;
    }
    LazyFlags after;
    Sub::apply(after, expected, old);
    if (old != expected) cpu.set_gpr<T>(rax, old);
    cpu.state.lazy = after;
    return Flow::next;
}

LazyFlags with_zf(const LazyFlags& f, bool zero) {
    return lazy_from_bits((arithmetic_bits(f) & ~flag_zf) | (zero ? flag_zf : 0));
}

Flow cmpxchg8b(Cpu& cpu, const Instruction& i) {
    const u64 expected = (u64{cpu.gpr<u32>(rdx)} << 32) | cpu.gpr<u32>(rax);
    const u64 value = (u64{cpu.gpr<u32>(rcx)} << 32) | cpu.gpr<u32>(rbx);
    u64 old = 0;
    const auto operation = [&](u64 a) {
        old = a;
        return a == expected ? value : a;
    };
    if (!cpu.modify<u64>(i.segment(), effective_address(cpu.state, i), i.lock(), operation)) return Flow::fault;
    if (old != expected) {
        cpu.set_gpr<u32>(rax, static_cast<u32>(old));
        cpu.set_gpr<u32>(rdx, static_cast<u32>(old >> 32));
    }
    cpu.state.lazy = with_zf(cpu.state.lazy, old == expected);
    return Flow::next;
}

Flow cmpxchg16b(Cpu& cpu, const Instruction& i) {
    const u64 offset = effective_address(cpu.state, i);
    LinearAddress linear;
    if (!cpu.linear(i.segment(), offset, 16, mmu::Access::write, linear)) return Flow::fault;
    if (linear.value & 15) return cpu.general_protection();
    const u128 expected = (u128{cpu.gpr<u64>(rdx)} << 64) | cpu.gpr<u64>(rax);
    const u128 value = (u128{cpu.gpr<u64>(rcx)} << 64) | cpu.gpr<u64>(rbx);
    u128 old = 0;
    const auto operation = [&](u128 a) {
        old = a;
        return a == expected ? value : a;
    };
    if (!cpu.modify<u128>(i.segment(), offset, i.lock(), operation)) return Flow::fault;
    if (old != expected) {
        cpu.set_gpr<u64>(rax, static_cast<u64>(old));
        cpu.set_gpr<u64>(rdx, static_cast<u64>(old >> 64));
    }
    cpu.state.lazy = with_zf(cpu.state.lazy, old == expected);
    return Flow::next;
}

} // namespace

Handler select_xchg(const Form& f) {
    return by_size(f.size[0], [&]<class T>() -> Handler {
        if (f.memory(0)) return threaded<xchg_memory<T, 1>>;
        if (f.memory(1)) return threaded<xchg_memory<T, 0>>;
        return threaded<xchg_registers<T>>;
    });
}
Handler select_xadd(const Form& f) {
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0),
                        [&]<Where D>() -> Handler { return handler_for<D, xadd<T, D>, xadd<T, general(D)>>(); });
    });
}
Handler select_cmpxchg(const Form& f) {
    return by_size(f.size[0], [&]<class T>() {
        return by_where(where(f, 0),
                        [&]<Where D>() -> Handler { return handler_for<D, cmpxchg<T, D>, cmpxchg<T, general(D)>>(); });
    });
}
Handler select_cmpxchg8b(const Form&) { return threaded<cmpxchg8b>; }
Handler select_cmpxchg16b(const Form&) { return threaded<cmpxchg16b>; }

} // namespace calque::cpu
