// What the path of a region has besides instructions: looks at the events where it goes back, at the pages it comes to,
// and calls and returns that go on within the region.
#include "cpu/threaded.h"
#include "jit/emit/unit_emitter.h"
#include "mmu/tlb_layout.h"

namespace calque::jit {

using asmjit::Imm;

// In front of `target`, by the engine each time: what leads there is the path itself. The flags are as they are here.
void UnitEmitter::leave_path(u64 target, Label leave) {
    const std::size_t number = out_.exits.size();
    Exit& exit = out_.exits.emplace_back();
    exit.target = target;
    exit.unit = request_.unit_index;
    exit.rights = request_.mode.rights();
    later([this, leave, number, flags = flags_, recipe = recipe_] {
        a_.bind(leave);
        flags_ = flags;
        recipe_ = recipe;
        flags_to_packed();
        out_.exits[number].stub = here();
        set_site(exit_bit | (request_.first_exit + static_cast<u32>(number)));
        a_.jmp(thunk(request_.thunks.resolve));
    });
}

void UnitEmitter::emit_poll(const ir::Op& op) {
    before_clobber(op);
    const Label leave = a_.newLabel();
    poll_or(leave);
    leave_path(op.target, leave);
}

// As guarded_exit() does, but for good.
void UnitEmitter::emit_enter_page(const ir::Op& op) {
    before_clobber(op);
    const Label leave = a_.newLabel();
    const u64 slot = (op.target >> page_shift) & (mmu::tlb_execute_id_count - 1);
    const u64 ids = mmu::tlb_execute_ids_offset + slot * sizeof(mmu::ExecuteId);
    const i32 id = static_cast<i32>(op.page_id);
    if (movable()) {
        a_.mov(t1, CALQUE_CONTEXT(shift_slot));
        a_.mov(t0, table_at(t1, ids, 8));
        a_.add(t0, CALQUE_CONTEXT(shift_id));
        a_.cmp(t0, id);
    } else {
        a_.cmp(table_at(ids, 8), id);
    }
    a_.long_().jne(leave);
    leave_path(op.target, leave);
}

// The return address is pushed. A call that does not come back in here notes where its return goes on.
void UnitEmitter::follow_call(const ir::Op& op) {
    if (op.comes_back || !return_stack()) return;
    const Label back = remember_return(op);
    later([this, &op, back] { go_on_after_call(op, back); });
}

void UnitEmitter::follow_return(const ir::Op& op) {
    const i32 popped = static_cast<i32>(stack_bytes(op)) + static_cast<i32>(op.guest.immediate & 0xFFFF);
    before_clobber(op); // The comparison will, and T0 is in use then.
    check_stack(op, host_gpq(cpu::rsp), 0, false, &UnitEmitter::load_target);
    const i64 expected = static_cast<i64>(op.target);
    const Label other = a_.newLabel();
    if (!movable() && expected == static_cast<i32>(expected)) {
        a_.cmp(t0, static_cast<i32>(expected));
    } else {
        address_of_code(t1, op.target);
        a_.cmp(t0, t1);
    }
    a_.long_().jne(other);
    Site& site = new_site(op);
    site.flags = FlagsIn::packed;
    site.recipe.kind = FlagRecipe::Kind::none;
    later([this, other, popped, number = site_number(site), flags = flags_, recipe = recipe_] {
        const Label miss = a_.newLabel(), unknown = a_.newLabel();
        a_.bind(other);
        flags_ = flags;
        recipe_ = recipe;
        if (flags_ != FlagsIn::packed) {
            a_.mov(CALQUE_CONTEXT(scratch), t0);
            flags_to_packed();
            a_.mov(t0, CALQUE_CONTEXT(scratch));
        }
        poll_or(miss);
        probe_target(unknown);
        advance_stack(popped);
        a_.jmp(table_at_scaled(t1, mmu::tlb_targets_offset + 8, 8));
        a_.bind(unknown);
        note_target(miss);
        advance_stack(popped);
        a_.jmp(go_on());
        to_interpreter(miss, number);
    });
    if (recipe_.uses(cpu::rsp)) {
        if (flags_ == FlagsIn::recipe) flags_to_host();
        recipe_.kind = FlagRecipe::Kind::none;
    }
    advance_stack(popped);
}

} // namespace calque::jit
