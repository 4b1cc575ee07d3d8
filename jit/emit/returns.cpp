// Calls under way: a call notes its return address with the host address of what goes on there, by where the return
// address is on the stack, and the return compares what it popped from there with the note. Most often that is it, and
// nothing is looked up. Notes lie in the TLB table, are of one address space and one kind of code, and go when any
// mapping does (mmu::TlbTable::drop_targets).
#include "jit/emit/unit_emitter.h"
#include "mmu/tlb_layout.h"

namespace calque::jit {

using asmjit::Imm;

namespace {
constexpr u32 shift = 1; // From a return address's place to the offset of its note.
static_assert(sizeof(mmu::TlbTarget) == 8 << shift);
constexpr u64 linear_at = mmu::tlb_returns_offset + offsetof(mmu::TlbTarget, linear);
constexpr u64 code_at = mmu::tlb_returns_offset + offsetof(mmu::TlbTarget, code);

x86::Mem entry(u64 table, u64 field) { return jit::table_at_scaled(t1, table + field, 8, shift); }
} // namespace

// The offset of the note for the stack pointer as it is, less the shift, in T1.
void UnitEmitter::find_return() {
    a_.mov(t1d, host_gpq(cpu::rsp).r32());
    a_.and_(t1d, static_cast<i32>((mmu::tlb_return_count - 1) * 8));
}

// Flags are packed. T0, of movable code, is the return address; it and T1 change. Where go_on_after_call() is to be.
asmjit::Label UnitEmitter::remember_return(const ir::Op& op) {
    const Label back = a_.newLabel();
    if (!return_stack()) return back;
    find_return();
    const i64 rip = static_cast<i64>(op.next_rip());
    if (!movable() && rip == static_cast<i32>(rip)) {
        a_.mov(entry(table_, linear_at), Imm(rip));
    } else {
        if (!movable()) a_.mov(t0, Imm(rip));
        a_.mov(entry(table_, linear_at), t0);
    }
    a_.lea(t0, back);
    a_.mov(entry(table_, code_at), t0);
    return back;
}

// Whoever comes here has packed flags and the return address in T0.
void UnitEmitter::go_on_after_call(const ir::Op& op, Label here) {
    if (!return_stack()) return;
    a_.bind(here);
    flags_ = FlagsIn::packed;
    recipe_.kind = FlagRecipe::Kind::none;
    if (movable()) check_shift(op.next_rip());
    leave_to(op.next_rip(), op.rip);
}

// T0: the address that is returned to. Flags are packed.
void UnitEmitter::return_by_stack(Label other, i32 popped) {
    find_return();
    a_.cmp(t0, entry(table_, linear_at));
    a_.long_().jne(other);
    a_.mov(t1, entry(table_, code_at)); // Where there is nothing, for address 0, it looks that up.
    count_computed(true);
    advance_stack(popped);
    a_.jmp(t1);
}

} // namespace calque::jit
