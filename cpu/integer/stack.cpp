// PUSH, POP, PUSHA, POPA, ENTER, LEAVE.
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

// The fast halves, in 64-bit mode without data breakpoints: no segment, no stack mask.
template <class T> [[nodiscard]] bool push_flat(Cpu& cpu, T value) {
    const u64 at = cpu.state.gpr[rsp] - sizeof(T);
    if (!cpu.try_store(LinearAddress(at), value)) [[unlikely]]
        return false;
    cpu.state.gpr[rsp] = at;
    return true;
}
template <class T> [[nodiscard]] bool pop_flat(Cpu& cpu, T& value) {
    if (!cpu.try_load(LinearAddress(cpu.state.gpr[rsp]), value)) [[unlikely]]
        return false;
    cpu.state.gpr[rsp] += sizeof(T);
    return true;
}

template <class T, Where S, bool Flat> Flow push(Cpu& cpu, const Instruction& i) {
    T value;
    if (!load<S, T>(cpu, i, i.dest, value)) return Flow::fault;
    const bool done = Flat ? push_flat(cpu, value) : cpu.push(value);
    return done ? Flow::next : Flow::fault;
}

template <class T, bool Flat> Flow pop_register(Cpu& cpu, const Instruction& i) {
    T value;
    if (!(Flat ? pop_flat(cpu, value) : cpu.pop(value))) return Flow::fault;
    cpu.set_gpr<T>(i.dest, value); // After the increment, which POP rSP loses.
    return Flow::next;
}

// The address is computed with the stack pointer already incremented (SDM volume 2, POP).
template <class T> Flow pop_memory(Cpu& cpu, const Instruction& i) {
    const u64 before = cpu.state.gpr[rsp];
    T value;
    if (!cpu.pop(value)) return Flow::fault;
    if (cpu.write_operand(i, value)) return Flow::next;
    cpu.state.gpr[rsp] = before;
    return Flow::fault;
}

// Eight registers down from the stack pointer. Nothing is written unless all of it can be.
template <class T> Flow pusha(Cpu& cpu, const Instruction&) {
    const u64 top = cpu.state.gpr[rsp];
    T values[8];
    for (unsigned n = 0; n < 8; ++n)
        values[n] = cpu.gpr<T>(n);
    for (unsigned n = 0; n < 8; ++n) {
        const u64 at = (top - (n + 1) * sizeof(T)) & cpu.stack_mask();
        LinearAddress linear;
        if (!cpu.linear(ss, at, sizeof(T), mmu::Access::write, linear)) return Flow::fault;
        if (!cpu.mmu.probe_write(linear, sizeof(T))) {
            cpu.raise_memory_fault(ss);
            return Flow::fault;
        }
    }
    for (const T value : values)
        if (!cpu.push(value)) return Flow::fault;
    return Flow::next;
}

template <class T> Flow popa(Cpu& cpu, const Instruction&) {
    const u64 top = cpu.state.gpr[rsp];
    T values[8];
    for (unsigned n = 0; n < 8; ++n)
        if (!cpu.read(ss, (top + n * sizeof(T)) & cpu.stack_mask(), values[n])) return Flow::fault;
    for (unsigned n = 0; n < 8; ++n)
        if (n != 7 - rsp) cpu.set_gpr<T>(7 - n, values[n]);
    cpu.set_rsp(top + 8 * sizeof(T));
    return Flow::next;
}

// SDM volume 2, ENTER. `at` walks down the stack; rSP moves at the end, so that a fault leaves everything as it was.
template <class T> Flow enter_frame(Cpu& cpu, const Instruction& i) {
    const u64 mask = cpu.stack_mask();
    const unsigned segment = cpu.stack_segment();
    const u64 size = i.immediate & 0xFFFF;
    const unsigned level = (i.immediate >> 16) & 31;
    u64 at = (cpu.state.gpr[rsp] - sizeof(T)) & mask;
    const u64 frame = at;
    if (!cpu.write<T>(segment, at, cpu.gpr<T>(rbp))) return Flow::fault;
    u64 link = cpu.state.gpr[rbp] & mask;
    for (unsigned n = 1; n < level; ++n) {
        T value;
        link = (link - sizeof(T)) & mask;
        at = (at - sizeof(T)) & mask;
        if (!cpu.read(segment, link, value) || !cpu.write(segment, at, value)) return Flow::fault;
    }
    if (level != 0) {
        at = (at - sizeof(T)) & mask;
        if (!cpu.write<T>(segment, at, static_cast<T>(frame))) return Flow::fault;
    }
    const u64 bottom = (at - size) & mask;
    // The new top of the stack must be writable, though nothing is written.
    LinearAddress linear;
    if (!cpu.linear(segment, bottom, sizeof(T), mmu::Access::write, linear)) return Flow::fault;
    if (!cpu.mmu.probe_write(linear, sizeof(T))) {
        cpu.raise_memory_fault(segment);
        return Flow::fault;
    }
    cpu.set_gpr<T>(rbp, static_cast<T>(frame));
    cpu.set_rsp(bottom);
    return Flow::next;
}

template <class T> Flow leave_frame(Cpu& cpu, const Instruction&) {
    const u64 frame = cpu.state.gpr[rbp] & cpu.stack_mask();
    T value;
    if (!cpu.read(cpu.stack_segment(), frame, value)) return Flow::fault;
    cpu.set_rsp(frame + sizeof(T));
    cpu.set_gpr<T>(rbp, value);
    return Flow::next;
}

// Operand sizes of the stack: 2 and 4 outside 64-bit mode, 2 and 8 in it.
template <class F> Handler by_stack_size(const Form& f, F pick) {
    switch (f.operand_size) {
    case 2: return pick.template operator()<u16>();
    case 4: return pick.template operator()<u32>();
    case 8: return pick.template operator()<u64>();
    default: return nullptr;
    }
}

template <class T, Where S> Handler push_handler(const Form& f) {
    return f.flat ? threaded_or<push<T, S, true>, push<T, general(S), false>> : threaded<push<T, general(S), false>>;
}

} // namespace

Handler select_push(const Form& f) {
    if (f.is(0, OperandKind::segment)) return select_push_segment(f);
    return by_stack_size(f, [&]<class T>() -> Handler {
        switch (where(f, 0)) {
        case Where::reg: return push_handler<T, Where::reg>(f);
        case Where::imm: return push_handler<T, Where::imm>(f);
        case Where::flat: return push_handler<T, Where::flat>(f);
        case Where::mem: return threaded<push<T, Where::mem, false>>;
        }
        return nullptr;
    });
}
Handler select_pop(const Form& f) {
    if (f.is(0, OperandKind::segment)) return select_pop_segment(f);
    return by_stack_size(f, [&]<class T>() -> Handler {
        if (f.memory(0)) return threaded<pop_memory<T>>;
        return f.flat ? threaded_or<pop_register<T, true>, pop_register<T, false>> : threaded<pop_register<T, false>>;
    });
}
Handler select_pusha(const Form& f) { return f.operand_size == 2 ? threaded<pusha<u16>> : threaded<pusha<u32>>; }
Handler select_popa(const Form& f) { return f.operand_size == 2 ? threaded<popa<u16>> : threaded<popa<u32>>; }
Handler select_enter(const Form& f) {
    return by_stack_size(f, [&]<class T>() -> Handler { return threaded<enter_frame<T>>; });
}
Handler select_leave(const Form& f) {
    return by_stack_size(f, [&]<class T>() -> Handler { return threaded<leave_frame<T>>; });
}

} // namespace calque::cpu
