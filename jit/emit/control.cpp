// Control flow, and leaving translated code.
#include "cpu/system/canonical.h"
#include "cpu/threaded.h"
#include "jit/emit/unit_emitter.h"
#include "mmu/tlb_layout.h"

namespace calque::jit {

using asmjit::Imm;

namespace {
constexpr mmu::ExecuteId any_id = 0x7FFF'FFFF; // Long enough for any number.
}

// --- Sites and exits

Site& UnitEmitter::new_site(const ir::Op& op) {
    Site& site = out_.sites.emplace_back();
    site.rip = op.rip;
    site.record = op.guest;
    site.unit = request_.unit_index;
    site.flags = flags_ == FlagsIn::host ? FlagsIn::packed : flags_;
    site.recipe = recipe_;
    site.x87_state = op.x87_state;
    site.patched = op.literal.host != nullptr;
    site.x87_note = x87_note_;
    site.knows_code = op.kind == Kind::call_indirect;
    // Whatever the handler makes of it, nobody may go on behind it: the window's range has not been found.
    site.window = op.window.first;
    return site;
}

u32 UnitEmitter::site_number(const Site& site) const {
    return request_.first_site + static_cast<u32>(&site - out_.sites.data());
}

void UnitEmitter::set_site(u32 number) { a_.mov(CALQUE_CONTEXT(exit_site), number); }

// The handler does the instruction. The flags are then packed and the vectors in the state.
void UnitEmitter::emit_interpret(const ir::Op& op) {
    before_clobber(op);
    Site& site = new_site(op);
    const u32 number = site_number(site);
    set_site(number);
    a_.jmp(thunk(request_.thunks.interpret));
    out_.sites[number - request_.first_site].resumes = true;
    out_.sites[number - request_.first_site].resume = here();
    a_.touched();
    flags_ = FlagsIn::packed;
    recipe_.kind = FlagRecipe::Kind::none;
    vectors_here_ = false;
    if (op.x87_state) x87_here_ = false;
}

void UnitEmitter::emit_interpret_and_leave(const ir::Op& op) {
    before_clobber(op);
    set_site(site_number(new_site(op)));
    a_.jmp(thunk(request_.thunks.interpret));
}

void UnitEmitter::exit_stub(std::size_t number, Label stub) {
    later([this, number, stub] {
        a_.bind(stub);
        Exit& exit = out_.exits[number];
        exit.stub = here();
        if (exit.flags == FlagsIn::host) pack_flags(a_);
        set_site(exit_bit | (request_.first_exit + static_cast<u32>(number)));
        a_.jmp(thunk(request_.thunks.resolve));
    });
}

// To another page, with packed flags: the target is good while its page is where it was. The table then has that page's
// id. Until the exit is linked it is for no page.
void UnitEmitter::guarded_exit(Exit& exit, Label stub) {
    const u64 slot = (exit.target >> page_shift) & (mmu::tlb_execute_id_count - 1);
    const u64 ids = table_of(exit.rights) + mmu::tlb_execute_ids_offset + slot * sizeof(mmu::ExecuteId);
    if (movable()) {
        a_.mov(t1, CALQUE_CONTEXT(shift_slot));
        a_.mov(t0, jit::table_at(t1, ids, 8));
        a_.add(t0, CALQUE_CONTEXT(shift_id));
        a_.cmp(t0, static_cast<i32>(any_id));
    } else {
        a_.cmp(jit::table_at(ids, 8), static_cast<i32>(any_id));
    }
    exit.guard_id = here() - 4;
    a_.long_().jne(stub);
    a_.long_().jmp(stub);
    exit.jump = here() - 4;
}

// Goes on where the page of `linear` has this execute id, less the unit's shift, in the TLB table at offset `table`,
// else to `gone`, with RCX in T1. EFLAGS are kept.
void UnitEmitter::guard_page(u64 table, u64 linear, mmu::ExecuteId id, Label gone) {
    const Label there = a_.newLabel();
    const u64 slot = (linear >> page_shift) & (mmu::tlb_execute_id_count - 1);
    const u64 ids = table + mmu::tlb_execute_ids_offset + slot * sizeof(mmu::ExecuteId);
    a_.mov(t1, x86::rcx);
    if (movable()) {
        a_.mov(x86::rcx, CALQUE_CONTEXT(shift_slot));
        a_.mov(x86::rcx, jit::table_at(x86::rcx, ids, 8));
        a_.mov(t0, CALQUE_CONTEXT(shift_id));
        a_.lea(x86::rcx, x86::ptr(x86::rcx, t0));
    } else {
        a_.mov(x86::rcx, jit::table_at(ids, 8));
    }
    if (id <= any_id) {
        a_.lea(x86::rcx, x86::ptr(x86::rcx, -static_cast<i32>(id)));
    } else {
        a_.mov(t0, Imm(0 - id));
        a_.lea(x86::rcx, x86::ptr(x86::rcx, t0));
    }
    a_.short_().jecxz(x86::rcx, there);
    a_.long_().jmp(gone);
    a_.bind(there);
    a_.mov(x86::rcx, t1);
}

// Of an instruction that goes on in the next page: that page is what it was when the instruction was read.
void UnitEmitter::guard_second_page() {
    const std::size_t number = out_.exits.size();
    Exit& exit = out_.exits.emplace_back();
    exit.target = request_.unit.linear;
    exit.flags = flags_;
    exit.unit = request_.unit_index;
    exit.second_page = true;
    const Label gone = a_.newLabel(), stub = a_.newLabel();
    guard_page(table_, request_.unit.linear + page_size, request_.second_page_id, gone);
    later([this, gone, stub] {
        a_.bind(gone);
        a_.mov(x86::rcx, t1);
        a_.jmp(stub);
    });
    exit_stub(number, stub);
}

// What polls look at is a word.
static_assert(cpu::events_at_once == 0xFFFF && !(cpu::event_interrupt_aside & cpu::events_at_once));

// Leaves when there are events (cpu::events_at_once). EFLAGS are kept.
void UnitEmitter::poll_backward(Label leave) {
    const Label none = a_.newLabel();
    a_.mov(t1, x86::rcx);
    if (request_.events != 0) {
        a_.movzx(x86::ecx, x86::ptr(request_.events, 2));
    } else {
        a_.mov(x86::rcx, CALQUE_CONTEXT(events));
        a_.movzx(x86::ecx, x86::word_ptr(x86::rcx));
    }
    a_.short_().jecxz(x86::rcx, none);
    a_.mov(x86::rcx, t1);
    a_.long_().jmp(leave);
    a_.bind(none);
    a_.mov(x86::rcx, t1);
}

// `from`: the address of the instruction that leaves; a way back is where loops are interrupted.
void UnitEmitter::leave_to(u64 target, u64 from, bool known_page) {
    const bool in_page = known_page || this->in_page(target);
    // What the guard and the poll need.
    if (!in_page || target <= from)
        flags_to_packed();
    else if (flags_ != FlagsIn::packed)
        flags_to_host();
    const std::size_t number = out_.exits.size();
    Exit& exit = out_.exits.emplace_back();
    exit.target = target;
    exit.flags = flags_;
    exit.unit = request_.unit_index;
    exit.rights = request_.mode.rights();
    exit.in_page = in_page;
    const Label stub = a_.newLabel();
    if (target <= from) poll_or(stub);
    if (in_page) {
        a_.long_().jmp(stub);
        exit.jump = here() - 4;
    } else {
        guarded_exit(exit, stub);
    }
    exit_stub(number, stub);
}

// To the operation's target, while what is emitted next is for those who stay.
void UnitEmitter::leave_aside(const ir::Op& op) {
    const FlagsIn flags = flags_;
    const FlagRecipe recipe = recipe_;
    leave_to(op.target, op.rip, op.known_page);
    flags_ = flags;
    recipe_ = recipe;
}

// Cheaply where EFLAGS are of no more use.
void UnitEmitter::need_vectors() {
    if (vectors_here_) return;
    vectors_here_ = true;
    const Label here = a_.newLabel();
    if (flags_ != FlagsIn::host) {
        const Label absent = a_.newLabel();
        a_.cmp(CALQUE_CONTEXT(vectors_absent), 0);
        a_.long_().jne(absent);
        a_.bind(here);
        return later([this, absent, here] {
            a_.bind(absent);
            a_.call(thunk(request_.thunks.load_vectors));
            a_.jmp(here);
        });
    }
    a_.mov(t1, x86::rcx);
    a_.movzx(x86::ecx, CALQUE_CONTEXT(vectors_absent));
    a_.short_().jecxz(x86::rcx, here);
    a_.mov(x86::rcx, t1);
    a_.call(thunk(request_.thunks.load_vectors));
    a_.mov(t1, x86::rcx);
    a_.bind(here);
    a_.mov(x86::rcx, t1);
}

// --- Jumps

void UnitEmitter::emit_jump(const ir::Op& op) {
    if (!op.loops_back || !next_round(op)) leave_to(op.target, op.rip, op.known_page);
}
void UnitEmitter::emit_fall_through(const ir::Op& op) { leave_to(op.target, op.target - 1, op.known_page); }

void UnitEmitter::emit_branch(const ir::Op& op) {
    flags_to_host();
    const Label not_taken = a_.newLabel();
    static constexpr x86::CondCode inverse[16] = {
        x86::CondCode::kNO, x86::CondCode::kO, x86::CondCode::kAE, x86::CondCode::kB,
        x86::CondCode::kNE, x86::CondCode::kE, x86::CondCode::kA,  x86::CondCode::kBE,
        x86::CondCode::kNS, x86::CondCode::kS, x86::CondCode::kPO, x86::CondCode::kPE,
        x86::CondCode::kGE, x86::CondCode::kL, x86::CondCode::kG,  x86::CondCode::kLE};
    if (op.literal.host) {
        a_.long_().j(inverse[op.condition], not_taken);
        branch_literal(op);
        a_.bind(not_taken);
        return;
    }
    const bool in_page = op.known_page || this->in_page(op.target);
    if (op.target > op.rip && in_page) { // The branch itself is linked to the target.
        const std::size_t number = out_.exits.size();
        Exit& exit = out_.exits.emplace_back();
        exit.target = op.target;
        exit.flags = FlagsIn::host;
        exit.unit = request_.unit_index;
        exit.rights = request_.mode.rights();
        const Label stub = a_.newLabel();
        a_.long_().j(inverse[op.condition ^ 1], stub);
        exit.jump = here() - 4;
        exit_stub(number, stub);
        return;
    }
    if (!op.loops_back && !in_page) {
        const Label taken = a_.newLabel();
        a_.long_().j(inverse[op.condition ^ 1], taken);
        return later([this, &op, taken] {
            a_.bind(taken);
            flags_ = FlagsIn::host;
            leave_to(op.target, op.rip, op.known_page);
        });
    }
    a_.long_().j(inverse[op.condition], not_taken);
    if (!op.loops_back || !next_round(op)) leave_aside(op);
    a_.bind(not_taken);
}

// Of a taken branch whose distance is patched; what follows is for the other way.
void UnitEmitter::branch_literal(const ir::Op& op) {
    const FlagsIn flags = flags_;
    const FlagRecipe recipe = recipe_;
    flags_to_packed();
    emit_jump_indirect(op);
    flags_ = flags;
    recipe_ = recipe;
}

// By RCX, ECX or CX, as the address size says. T1 has the whole of it.
void UnitEmitter::jump_if_count_zero(const ir::Op& op, Label zero) {
    const unsigned bytes = op.guest.address_bytes();
    a_.mov(t1, x86::rcx);
    if (bytes == 2) a_.movzx(x86::ecx, x86::cx);
    if (bytes == 8)
        a_.short_().jecxz(x86::rcx, zero);
    else
        a_.short_().jecxz(x86::ecx, zero);
}

void UnitEmitter::emit_branch_if_count_zero(const ir::Op& op) {
    if (flags_ != FlagsIn::packed) flags_to_host();
    const Label taken = a_.newLabel(), not_taken = a_.newLabel();
    jump_if_count_zero(op, taken);
    a_.mov(x86::rcx, t1);
    a_.short_().jmp(not_taken);
    a_.bind(taken);
    a_.mov(x86::rcx, t1);
    leave_aside(op);
    a_.bind(not_taken);
}

void UnitEmitter::emit_loop(const ir::Op& op) {
    const bool by_flag = op.condition != 0;
    if (by_flag || flags_ != FlagsIn::packed) flags_to_host();
    if (recipe_.uses(cpu::rcx)) recipe_.kind = FlagRecipe::Kind::none;
    switch (op.guest.address_bytes()) {
    case 8: a_.lea(x86::rcx, x86::ptr(x86::rcx, -1)); break;
    case 4: a_.lea(x86::ecx, x86::ptr(x86::rcx, -1)); break;
    default:
        a_.lea(t1d, x86::ptr(x86::rcx, -1));
        a_.mov(x86::cx, t1.r16());
        break;
    }
    const Label done = a_.newLabel(), other = a_.newLabel();
    constexpr u8 zero = 4;
    if (by_flag) a_.long_().j(op.condition == zero ? x86::CondCode::kNE : x86::CondCode::kE, other);
    jump_if_count_zero(op, done);
    a_.mov(x86::rcx, t1);
    leave_aside(op);
    a_.bind(done);
    a_.mov(x86::rcx, t1);
    a_.bind(other);
}

// The target of a computed jump, as the target cache knows it (Engine::target_key). What is beyond the code segment's
// limit is not there.
void UnitEmitter::rip_to_linear() {
    const ir::Surroundings& around = request_.unit.around;
    if (around.code_base != 0) a_.lea(t0d, x86::ptr(t0, static_cast<i32>(around.code_base)));
    if (around.code_segment == 0) return;
    a_.mov(t1, Imm(u64{around.code_segment} << 32));
    a_.lea(t0, x86::ptr(t0, t1));
}

void UnitEmitter::load(const x86::Gpq& to, const x86::Mem& from, u32 bytes) {
    if (bytes == 2)
        a_.movzx(to.r32(), from);
    else
        a_.mov(sized(to, bytes), from);
}

// T0: a linear address. Goes to the code for it when the target cache has it.
void UnitEmitter::probe_target(Label miss) {
    a_.rorx(t1, t0, page_shift - 1); // mmu::tlb_target_slot(), times two.
    a_.lea(t1d, x86::ptr(t1, t0, 1));
    a_.and_(t1d, static_cast<i32>((mmu::tlb_target_count - 1) * 2));
    a_.cmp(t0, table_at_scaled(t1, mmu::tlb_targets_offset, 8));
    a_.long_().jne(miss);
    count_computed(true);
}

x86::Mem UnitEmitter::events(u32 size) {
    if (request_.events != 0) return x86::ptr(request_.events, size);
    a_.mov(t1, CALQUE_CONTEXT(events));
    return x86::ptr(t1, 0, size);
}
void UnitEmitter::poll_or(Label miss) {
    a_.cmp(events(2), 0);
    a_.long_().jne(miss);
}
void UnitEmitter::poll_for_all_or(Label miss) {
    a_.cmp(events(4), 0);
    a_.long_().jne(miss);
}

// T0: a linear address that the target cache does not have. Where it is one, the thunk go_on will find it in the
// context.
void UnitEmitter::note_target(Label not_canonical) {
    a_.mov(t1, t0);
    a_.shl(t1, 64 - cpu::linear_address_bits);
    a_.sar(t1, 64 - cpu::linear_address_bits);
    a_.cmp(t1, t0);
    a_.long_().jne(not_canonical);
    a_.mov(CALQUE_CONTEXT(leave_rip), t0);
    count_computed(false);
}

// The handler of that site does all of it when there is something to look at, or the target is no address.
void UnitEmitter::to_interpreter(Label miss, u32 number) {
    a_.bind(miss);
    set_site(number);
    a_.jmp(thunk(request_.thunks.interpret));
}

void UnitEmitter::emit_jump_indirect(const ir::Op& op) {
    flags_to_packed();
    const Label miss = a_.newLabel(), unknown = code64() ? a_.newLabel() : miss;
    poll_or(miss);
    target_to_t0(op);
    rip_to_linear();
    probe_target(unknown);
    a_.jmp(table_at_scaled(t1, mmu::tlb_targets_offset + 8, 8));
    later([this, miss, unknown, number = site_number(new_site(op))] {
        if (code64()) {
            a_.bind(unknown);
            note_target(miss);
            a_.jmp(go_on());
        }
        to_interpreter(miss, number);
    });
}

void UnitEmitter::target_to_t0(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    if (op.literal.host) return load_literal_target(op);
    if (op.access != ir::MemoryAccess::none) return check_operand(op, &UnitEmitter::load_target);
    read_guest(t0, op.guest.dest);
    if (bytes == 2) a_.movzx(t0d, t0.r16());
    if (bytes == 4) a_.mov(t0d, t0d);
}

void UnitEmitter::load_target(const ir::Op& op) { load(t0, operand(stack_bytes(op)), stack_bytes(op)); }

void UnitEmitter::emit_call_indirect(const ir::Op& op) {
    flags_to_packed();
    const Label miss = a_.newLabel(), unknown = code64() ? a_.newLabel() : miss, known = a_.newLabel();
    poll_or(miss);
    target_to_t0(op);
    rip_to_linear();
    probe_target(unknown);
    a_.mov(t1, table_at_scaled(t1, mmu::tlb_targets_offset + 8, 8));
    if (code64()) a_.mov(CALQUE_CONTEXT(leave_rip), t0); // The target may be movable code.
    a_.bind(known);
    a_.mov(CALQUE_CONTEXT(scratch), t1);
    check_stack(op, host_gpq(cpu::rsp), pushed(op), true, &UnitEmitter::push_return_address);
    advance_stack(pushed(op));
    const Label back = remember_return(op);
    if (code64()) a_.mov(t0, CALQUE_CONTEXT(leave_rip));
    a_.jmp(CALQUE_CONTEXT(scratch));
    later([this, miss, unknown, known, number = site_number(new_site(op))] {
        if (code64()) {
            a_.bind(unknown);
            note_target(miss);
            a_.mov(t1, go_on()); // Once the return address is pushed: to look may set an accessed bit.
            a_.jmp(known);
        }
        to_interpreter(miss, number);
    });
    go_on_after_call(op, back);
}

void UnitEmitter::emit_return_near(const ir::Op& op) {
    if (op.follows) return follow_return(op);
    flags_to_packed();
    const Label miss = a_.newLabel(), unknown = code64() ? a_.newLabel() : miss;
    const i32 popped = static_cast<i32>(stack_bytes(op)) + static_cast<i32>(op.guest.immediate & 0xFFFF);
    poll_or(miss);
    check_stack(op, host_gpq(cpu::rsp), 0, false, &UnitEmitter::load_target);
    rip_to_linear();
    const Label other = a_.newLabel();
    if (return_stack()) return_by_stack(other, popped);
    const auto look_up = [this, unknown, popped] {
        probe_target(unknown);
        advance_stack(popped);
        a_.jmp(table_at_scaled(t1, mmu::tlb_targets_offset + 8, 8));
    };
    if (!return_stack()) look_up();
    later([this, miss, unknown, other, popped, look_up, number = site_number(new_site(op))] {
        if (return_stack()) {
            a_.bind(other);
            look_up();
        }
        if (code64()) { // A limit of the code segment is for the handler.
            a_.bind(unknown);
            note_target(miss);
            advance_stack(popped);
            a_.jmp(go_on());
        }
        to_interpreter(miss, number);
    });
}

void UnitEmitter::emit_call(const ir::Op& op) {
    before_access(op);
    check_stack(op, host_gpq(cpu::rsp), pushed(op), true, &UnitEmitter::push_return_address);
    if (flags_ == FlagsIn::recipe && recipe_.uses(cpu::rsp)) flags_to_host();
    advance_stack(pushed(op));
    if (recipe_.uses(cpu::rsp)) recipe_.kind = FlagRecipe::Kind::none;
    if (op.follows) return follow_call(op);
    const Label back = remember_return(op);
    leave_to(op.target, op.rip, op.known_page);
    go_on_after_call(op, back);
}

// --- The stack

} // namespace calque::jit
