// REP CMPS and REP SCAS, a page at a time, by the host's own on the host's addresses.
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {
constexpr i32 packed_zf = 0x4000; // In PackedFlags.
}

// T0 elements were looked at, and JitContext::flags are those of the last. As in the handler, what is done is done: the
// registers and the flags show it when the next page faults.
void UnitEmitter::end_scan(const ir::Op& op, Label next, Label done, Label slow) {
    a_.test(CALQUE_CONTEXT(flags), packed_zf);
    a_.long_().j(op.guest.repne() ? x86::CondCode::kNZ : x86::CondCode::kZ, done);
    end_pieces(op, next, done, slow);
}

void UnitEmitter::emit_scan(const ir::Op& op) {
    constexpr i32 pushed = 16;
    flags_to_packed(); // They stay when RCX is 0.
    recipe_.kind = FlagRecipe::Kind::none;
    const Label slow = a_.newLabel(), next = a_.newLabel(), done = a_.newLabel();
    begin_pieces(next, done, slow);
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
    end_scan(op, next, done, slow);
}

void UnitEmitter::emit_compare_strings(const ir::Op& op) {
    constexpr i32 pushed = 32;
    flags_to_packed();
    recipe_.kind = FlagRecipe::Kind::none;
    const Label slow = a_.newLabel(), next = a_.newLabel(), done = a_.newLabel();
    begin_pieces(next, done, slow);
    push_both(op, false);
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
    pop_both(op);
    end_scan(op, next, done, slow);
}

} // namespace calque::jit
