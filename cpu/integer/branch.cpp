// Near jumps, calls and returns, loops. Relative ones lead to chain records, the others to the jump cache
// (cpu/dispatch.h).
#include "cpu/dispatch.h"
#include "cpu/integer/operand.h"
#include "cpu/integer/rows.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

constexpr bool canonical(u64 address) { return static_cast<u64>(static_cast<i64>(address << 16) >> 16) == address; }

void faulted(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() -= i->length;
    return leave(cpu, Flow::fault, i);
}

// RIP to the target, which the segment's limit and the canonical form may forbid. `Size` is the operand size.
template <unsigned Size> [[nodiscard]] inline bool jump_to(Cpu& cpu, u64 target) {
    if constexpr (Size == 8) {
        if (canonical(target)) [[likely]] {
            cpu.state.rip() = target;
            return true;
        }
        cpu.general_protection();
        return false;
    } else {
        return cpu.jump_near(target, Size);
    }
}

template <unsigned Size> void jmp_relative(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    if (!jump_to<Size>(cpu, cpu.state.rip() + i->immediate)) [[unlikely]]
        return faulted(cpu, i);
    return go_chained(cpu, i, i->displacement);
}

template <unsigned Condition, unsigned Size> void jcc(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    if (condition<Condition>(cpu.state.lazy)) {
        if (!jump_to<Size>(cpu, cpu.state.rip() + i->immediate)) [[unlikely]]
            return faulted(cpu, i);
        return go_chained(cpu, i, i->displacement);
    }
    ++i;
    return i->handler(cpu, i);
}

// LOOP, LOOPE, LOOPNE count rCX of the address size down; JCXZ only looks at it.
enum class Loop : u8 { always, equal, not_equal, if_zero };
template <Loop Kind, unsigned Size, class Count> void loop(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    const Count before = cpu.gpr<Count>(rcx);
    const Count count = static_cast<Count>(before - 1);
    bool taken = count != 0;
    if constexpr (Kind == Loop::equal) taken = taken && zf(cpu.state.lazy);
    if constexpr (Kind == Loop::not_equal) taken = taken && !zf(cpu.state.lazy);
    if constexpr (Kind == Loop::if_zero) taken = before == 0;
    if (taken && !jump_to<Size>(cpu, cpu.state.rip() + i->immediate)) [[unlikely]]
        return faulted(cpu, i);
    if constexpr (Kind != Loop::if_zero) cpu.set_gpr<Count>(rcx, count);
    if (taken) return go_chained(cpu, i, i->displacement);
    ++i;
    return i->handler(cpu, i);
}

// With Flat, what the TLB has at once or nothing: the slow half then does it all.
template <class T, bool Flat> [[nodiscard]] inline bool push_return(Cpu& cpu) {
    const T value = static_cast<T>(cpu.state.rip());
    if constexpr (!Flat) return cpu.push(value);
    const u64 at = cpu.state.gpr[rsp] - sizeof(T);
    if (!cpu.try_store(LinearAddress(at), value)) [[unlikely]]
        return false;
    cpu.state.gpr[rsp] = at;
    return true;
}

// The target is checked before the push, so that a fault leaves the stack as it was.
template <class T, bool Flat> [[nodiscard]] inline bool call_to(Cpu& cpu, u64 target) {
    const u64 next = cpu.state.rip();
    if (!jump_to<sizeof(T)>(cpu, target)) return false;
    const u64 there = cpu.state.rip();
    cpu.state.rip() = next;
    if (!push_return<T, Flat>(cpu)) [[unlikely]]
        return false;
    cpu.state.rip() = there;
    return true;
}

// The work of computed branches, apart from the way on: its locals must be gone before the tail call, or the compiler
// makes none.
template <class T, bool Flat, Where S> [[nodiscard]] inline bool call_operand(Cpu& cpu, const Instruction& i) {
    const u64 next = cpu.state.rip();
    T target;
    if (load<S, T>(cpu, i, i.dest, target) && call_to<T, Flat>(cpu, target)) [[likely]]
        return true;
    cpu.state.rip() = next;
    return false;
}
template <class T, Where S> [[nodiscard]] inline bool jump_operand(Cpu& cpu, const Instruction& i) {
    T target;
    return load<S, T>(cpu, i, i.dest, target) && jump_to<sizeof(T)>(cpu, target);
}
template <class T, bool Flat> [[nodiscard]] inline bool return_to_caller(Cpu& cpu, const Instruction& i) {
    T target;
    if constexpr (Flat) {
        if (!cpu.try_load(LinearAddress(cpu.state.gpr[rsp]), target)) [[unlikely]]
            return false;
    } else if (!cpu.read(cpu.stack_segment(), cpu.state.gpr[rsp] & cpu.stack_mask(), target)) {
        return false;
    }
    if (!jump_to<sizeof(T)>(cpu, target)) [[unlikely]]
        return false;
    const u64 popped = sizeof(T) + (i.immediate & 0xFFFF);
    if constexpr (Flat)
        cpu.state.gpr[rsp] += popped;
    else
        cpu.set_rsp(cpu.state.gpr[rsp] + popped);
    return true;
}

// The fast half of a branch gives up by starting over in the slow one.
template <Handler slow> void start_over(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() -= i->length;
    return slow(cpu, i);
}

template <class T, bool Flat> void call_relative(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    if (!call_to<T, Flat>(cpu, cpu.state.rip() + i->immediate)) [[unlikely]] {
        if constexpr (Flat)
            return start_over<call_relative<T, false>>(cpu, i);
        else
            return faulted(cpu, i);
    }
    return go_chained(cpu, i, i->displacement);
}
template <class T, bool Flat, Where S> void call_computed(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    if (!call_operand<T, Flat, S>(cpu, *i)) [[unlikely]] {
        if constexpr (Flat)
            return start_over<call_computed<T, false, general(S)>>(cpu, i);
        else
            return faulted(cpu, i);
    }
    return go_computed(cpu, i);
}
template <class T, Where S> void jmp_computed(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    if (!jump_operand<T, S>(cpu, *i)) [[unlikely]] {
        if constexpr (S == Where::flat)
            return start_over<jmp_computed<T, Where::mem>>(cpu, i);
        else
            return faulted(cpu, i);
    }
    return go_computed(cpu, i);
}
template <class T, bool Flat> void ret(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    if (!return_to_caller<T, Flat>(cpu, *i)) [[unlikely]] {
        if constexpr (Flat)
            return start_over<ret<T, false>>(cpu, i);
        else
            return faulted(cpu, i);
    }
    return go_computed(cpu, i);
}

template <unsigned Condition> Handler select_jcc(const Form& f) {
    switch (f.operand_size) {
    case 2: return jcc<Condition, 2>;
    case 4: return jcc<Condition, 4>;
    default: return jcc<Condition, 8>;
    }
}
template <Loop Kind, unsigned Size> Handler select_loop_sized(const Form& f) {
    switch (f.address_size) {
    case 2: return loop<Kind, Size, u16>;
    case 4: return loop<Kind, Size, u32>;
    default: return loop<Kind, Size, u64>;
    }
}
template <Loop Kind> Handler select_loop_kind(const Form& f) {
    switch (f.operand_size) {
    case 2: return select_loop_sized<Kind, 2>(f);
    case 4: return select_loop_sized<Kind, 4>(f);
    default: return select_loop_sized<Kind, 8>(f);
    }
}
template <class F> Handler by_branch_size(const Form& f, F pick) {
    switch (f.operand_size) {
    case 2: return pick.template operator()<u16>();
    case 4: return pick.template operator()<u32>();
    default: return pick.template operator()<u64>();
    }
}
// A memory operand larger than the operand size holds a selector too.
bool is_far(const Form& f) { return f.is(0, OperandKind::far_pointer) || (f.memory(0) && f.size[0] > f.operand_size); }

} // namespace

Handler select_jmp(const Form& f) {
    if (is_far(f)) return select_jmp_far(f);
    return by_branch_size(f, [&]<class T>() -> Handler {
        if (f.is(0, OperandKind::relative)) return jmp_relative<sizeof(T)>;
        return by_where(where(f, 0), [&]<Where S>() -> Handler { return jmp_computed<T, S>; });
    });
}
Handler select_call(const Form& f) {
    if (is_far(f)) return select_call_far(f);
    return by_branch_size(f, [&]<class T>() -> Handler {
        if (f.is(0, OperandKind::relative)) return f.flat ? call_relative<T, true> : call_relative<T, false>;
        return by_where(where(f, 0), [&]<Where S>() -> Handler {
            return f.flat ? call_computed<T, true, S> : call_computed<T, false, general(S)>;
        });
    });
}
Handler select_ret(const Form& f) {
    if (f.opcode == 0xCA || f.opcode == 0xCB) return select_ret_far(f);
    return by_branch_size(f, [&]<class T>() -> Handler { return f.flat ? ret<T, true> : ret<T, false>; });
}
Handler select_loop(const Form& f) { return select_loop_kind<Loop::always>(f); }
// REPE and REPNE prefixes decide over the opcode: no manual has it, but AMD's processors do it.
Handler select_loope(const Form& f) {
    return f.flags & insn_repne ? select_loop_kind<Loop::not_equal>(f) : select_loop_kind<Loop::equal>(f);
}
Handler select_loopne(const Form& f) {
    return f.flags & insn_rep ? select_loop_kind<Loop::equal>(f) : select_loop_kind<Loop::not_equal>(f);
}
Handler select_jrcxz(const Form& f) { return select_loop_kind<Loop::if_zero>(f); }

#define CONDITION(name, number)                                                                                        \
    Handler select_j##name(const Form& f) { return select_jcc<number>(f); }
CALQUE_CONDITIONS(CONDITION)
#undef CONDITION

} // namespace calque::cpu
