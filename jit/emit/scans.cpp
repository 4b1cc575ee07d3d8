// REP CMPS and REP SCAS, a page at a time, by the host's own on the host's addresses.
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {
constexpr i32 packed_zf = 0x4000; // In PackedFlags.
}

// T0 elements were looked at, and JitContext::flags are those of the last. As in the handler, what is done is done: the
// registers and the flags show it when the next page faults.
void UnitEmitter::next_piece(const ir::Op& op, Label next, Label done, Label slow) {
    a_.test(CALQUE_CONTEXT(flags), packed_zf);
    a_.long_().j(op.guest.repne() ? x86::CondCode::kNZ : x86::CondCode::kZ, done);
    a_.test(x86::rcx, x86::rcx);
    a_.long_().jz(done);
    poll_or(slow);
    a_.long_().jmp(next);
}

void UnitEmitter::emit_scan(const ir::Op& op) {
    constexpr i32 pushed = 16;
    flags_to_packed(); // They stay when RCX is 0.
    recipe_.kind = FlagRecipe::Kind::none;
    const Label slow = a_.newLabel(), next = a_.newLabel(), done = a_.newLabel();
    check_direction(slow);
    a_.bind(next);
    a_.test(x86::rcx, x86::rcx);
    a_.long_().jz(done);
    check_piece(op, x86::rdi, false);
    piece_at(op, x86::edi);
    a_.push(x86::rcx);
    a_.push(x86::rdi);
    a_.mov(x86::rdi, t1);
    a_.mov(x86::rcx, t0);
    a_.mov(t1, t0);
    a_.mov(t0, host_gpq(cpu::rax));
    if (op.guest.repne())
        a_.repne();
    else
        a_.repe();
    switch (op.access_bytes) {
    case 1: a_.scasb(); break;
    case 2: a_.scasw(); break;
    case 4: a_.scasd(); break;
    default: a_.scasq(); break;
    }
    a_.lahf();
    a_.seto(x86::al);
    a_.mov(CALQUE_CONTEXT_BELOW(flags, pushed), x86::eax);
    a_.mov(t0, t1);
    a_.sub(t0, x86::rcx);
    a_.pop(x86::rdi);
    a_.pop(x86::rcx);
    advance_count(op);
    next_piece(op, next, done, slow);
    a_.bind(done);
    by_handler(op, slow);
}

void UnitEmitter::emit_compare_strings(const ir::Op& op) {
    constexpr i32 pushed = 32;
    flags_to_packed();
    recipe_.kind = FlagRecipe::Kind::none;
    const Label slow = a_.newLabel(), next = a_.newLabel(), done = a_.newLabel();
    check_direction(slow);
    a_.bind(next);
    a_.test(x86::rcx, x86::rcx);
    a_.long_().jz(done);
    check_piece(op, x86::rsi, false);
    a_.mov(CALQUE_CONTEXT(scratch), t1);
    check_piece(op, x86::rdi, false);
    a_.push(x86::rdx);
    piece_at_both(op);
    a_.push(x86::rcx);
    a_.push(x86::rsi);
    a_.push(x86::rdi);
    a_.mov(x86::rdx, t0);
    a_.mov(x86::rcx, t0);
    a_.mov(x86::rsi, CALQUE_CONTEXT_BELOW(scratch, pushed));
    a_.mov(x86::rdi, t1);
    if (op.guest.repne())
        a_.repne();
    else
        a_.repe();
    switch (op.access_bytes) {
    case 1: a_.cmpsb(); break;
    case 2: a_.cmpsw(); break;
    case 4: a_.cmpsd(); break;
    default: a_.cmpsq(); break;
    }
    a_.lahf();
    a_.seto(x86::al);
    a_.mov(CALQUE_CONTEXT_BELOW(flags, pushed), x86::eax);
    a_.mov(t0, x86::rdx);
    a_.sub(t0, x86::rcx);
    a_.pop(x86::rdi);
    a_.pop(x86::rsi);
    a_.pop(x86::rcx);
    a_.pop(x86::rdx);
    advance_count(op);
    a_.add(x86::rsi, t0);
    next_piece(op, next, done, slow);
    a_.bind(done);
    by_handler(op, slow);
}

} // namespace calque::jit
