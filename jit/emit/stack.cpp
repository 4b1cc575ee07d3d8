// What pushes and pops: the stack pointer and the places that it shows.
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

using asmjit::Imm;

// Without the flags, as the next. T0 is used.
void UnitEmitter::set_stack_pointer(const x86::Gpq& from, i32 distance) {
    const x86::Gpq to = host_gpq(cpu::rsp);
    switch (request_.unit.around.stack_address_bytes) {
    case 8: a_.lea(to, x86::ptr(from, distance)); break;
    case 4: a_.lea(to.r32(), x86::ptr(from, distance)); break;
    default:
        a_.lea(t0d, x86::ptr(from, distance));
        a_.mov(to.r16(), t0.r16());
        break;
    }
}
void UnitEmitter::advance_stack(i32 bytes) { set_stack_pointer(host_gpq(cpu::rsp), bytes); }

// Pushes and pops of one range follow each other, and once its check is done nobody looks at the stack pointer before
// the last of them.
bool UnitEmitter::in_stack_run(const ir::Op& op) const {
    return (op.kind == Kind::push_register || op.kind == Kind::pop_register) && op.window.used() && code64()
           && op.guest.dest != cpu::rsp && request_.counting == Counting::none;
}
void UnitEmitter::advance_stack_later(const ir::Op& op, i32 bytes) {
    if (in_stack_run(op))
        stack_behind_ += bytes;
    else
        advance_stack(bytes);
}
void UnitEmitter::settle_stack() {
    if (stack_behind_ != 0) advance_stack(stack_behind_);
    stack_behind_ = 0;
}

// To the place that check_stack() found.
void UnitEmitter::push_return_address(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    if (return_stack() && !op.comes_back && flags_ != FlagsIn::packed) { // remember_return() changes them.
        free_t0();
        flags_to_packed();
    }
    const i64 back = static_cast<i64>(request_.unit.around.rip(op.next_rip()));
    if (movable()) {
        free_t0();
        address_of_code(t0, op.next_rip());
        a_.mov(operand(8), t0);
    } else if (bytes == 2) {
        a_.mov(operand(2), Imm(static_cast<i16>(back)));
    } else if (bytes == 4 || back == static_cast<i32>(back)) {
        a_.mov(operand(bytes), Imm(static_cast<i32>(back)));
    } else {
        free_t0();
        a_.mov(t0, Imm(back));
        a_.mov(operand(8), t0);
    }
}

void UnitEmitter::emit_push_register(const ir::Op& op) {
    before_access(op);
    check_stack(op, host_gpq(cpu::rsp), pushed(op), true, &UnitEmitter::push_from_register);
    advance_stack_later(op, pushed(op));
    after_execution(op);
}

void UnitEmitter::push_from_register(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    const bool flags = needs_host_flags(op);
    const unsigned guest = op.guest.dest;
    if (flags || !pinned(guest)) free_t0();
    if (flags) flags_to_host();
    if (pinned(guest)) {
        a_.mov(operand(bytes), sized(host_gpq(guest), bytes));
    } else {
        a_.mov(t0, spilled_slot(guest));
        a_.mov(operand(8), t0);
    }
}

void UnitEmitter::emit_push_immediate(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    before_access(op);
    check_stack(op, host_gpq(cpu::rsp), pushed(op), true);
    free_t0();
    if (needs_host_flags(op)) flags_to_host();
    const i64 value = bytes == 2 ? static_cast<i16>(op.guest.immediate) : static_cast<i32>(op.guest.immediate);
    if (op.literal.host) {
        load_literal(t0, op);
        a_.mov(operand(bytes), sized(t0, bytes));
    } else {
        a_.mov(operand(bytes), Imm(value));
    }
    advance_stack(pushed(op));
    after_execution(op);
}

void UnitEmitter::emit_push_memory(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    before_clobber(op);
    address_to_t0(op, false, bytes);
    check_memory(op, false, bytes, false);
    load(t0, operand(bytes), bytes);
    a_.mov(CALQUE_CONTEXT(scratch), t0);
    check_stack(op, host_gpq(cpu::rsp), pushed(op), true);
    free_t0();
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(t0, CALQUE_CONTEXT(scratch));
    a_.mov(operand(bytes), sized(t0, bytes));
    advance_stack(pushed(op));
    after_execution(op);
}

void UnitEmitter::emit_pop_register(const ir::Op& op) {
    before_access(op);
    if (op.guest.dest == cpu::rsp) { // First it goes up: of 2 bytes, what they leave alone counts.
        check_stack(op, host_gpq(cpu::rsp), 0, false);
        free_t0();
        if (needs_host_flags(op)) flags_to_host();
        advance_stack(static_cast<i32>(stack_bytes(op)));
        pop_to_register(op);
    } else {
        check_stack(op, host_gpq(cpu::rsp), 0, false, &UnitEmitter::pop_to_register);
        advance_stack_later(op, static_cast<i32>(stack_bytes(op)));
    }
    after_execution(op);
}

void UnitEmitter::pop_to_register(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    free_t0();
    if (needs_host_flags(op)) flags_to_host();
    const unsigned guest = op.guest.dest;
    if (pinned(guest)) {
        a_.mov(sized(host_gpq(guest), bytes), operand(bytes));
    } else {
        a_.mov(t0, operand(8));
        a_.mov(spilled_slot(guest), t0);
    }
}

void UnitEmitter::emit_leave_frame(const ir::Op& op) {
    before_access(op);
    const x86::Gpq frame = host_gpq(cpu::rbp);
    check_stack(op, frame, 0, false);
    free_t0();
    if (needs_host_flags(op)) flags_to_host();
    set_stack_pointer(frame, static_cast<i32>(stack_bytes(op)));
    a_.mov(sized(frame, stack_bytes(op)), operand(stack_bytes(op)));
    after_execution(op);
}

} // namespace calque::jit
