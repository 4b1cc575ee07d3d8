// REP MOVS and REP STOS, a page at a time, by the host's own on the host's addresses; and BT and its kin on bits beyond
// their operand.
#include "cpu/table.h"
#include "jit/emit/unit_emitter.h"

#include <bit>

namespace calque::jit {

namespace {

constexpr std::size_t rflags_at = offsetof(cpu::CpuState, rflags);
u8 log_of(const ir::Op& op) { return static_cast<u8>(std::countr_zero(unsigned{op.access_bytes})); }

} // namespace

// The host address for the element at `pointer`, in T1, which is good for the rest of its page. Where that is no plain
// memory, the handler does what is left.
void UnitEmitter::check_piece(const ir::Op& op, const x86::Gpq& pointer, bool write) {
    a_.mov(t0, pointer);
    check_memory(op, write, op.access_bytes, false);
    out_.sites.back().piece = true;
    join_address();
}

// To `slow` with DF set; then the handler goes down.
void UnitEmitter::check_direction(Label slow) {
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.test(x86::dword_ptr(t1, static_cast<i32>(rflags_at)), static_cast<i32>(cpu::flag_df));
    a_.long_().jnz(slow);
}

// T0: elements that were done, of which it makes bytes.
void UnitEmitter::advance_count(const ir::Op& op) {
    a_.sub(x86::rcx, t0);
    if (log_of(op) != 0) a_.shl(t0, log_of(op));
    a_.add(x86::rdi, t0);
}

// Elements from there to the end of the page, but not more than RCX, in T0.
void UnitEmitter::piece_at(const ir::Op& op, const x86::Gpd& pointer) {
    a_.mov(t0d, pointer);
    a_.and_(t0d, static_cast<i32>(page_offset_mask));
    piece_to_count(op);
}

// The same of RSI and RDI: up to the end of the page that ends first, where the offset is the larger. RDX is lost.
void UnitEmitter::piece_at_both(const ir::Op& op) {
    a_.mov(t0d, x86::esi);
    a_.and_(t0d, static_cast<i32>(page_offset_mask));
    a_.mov(x86::edx, x86::edi);
    a_.and_(x86::edx, static_cast<i32>(page_offset_mask));
    a_.cmp(t0d, x86::edx);
    a_.cmovb(t0d, x86::edx);
    piece_to_count(op);
}

// T0: the offset in a page.
void UnitEmitter::piece_to_count(const ir::Op& op) {
    a_.neg(t0d);
    a_.add(t0d, static_cast<i32>(page_size));
    if (log_of(op) != 0) a_.shr(t0d, log_of(op));
    a_.cmp(t0, x86::rcx);
    a_.cmova(t0, x86::rcx);
}

// The frame of a REP that goes page by page: it comes back to `next` with what is left of RCX.
void UnitEmitter::begin_pieces(Label next, Label done, Label slow) {
    check_direction(slow);
    a_.bind(next);
    a_.test(x86::rcx, x86::rcx);
    a_.long_().jz(done);
}

void UnitEmitter::end_pieces(const ir::Op& op, Label next, Label done, Label slow) {
    a_.test(x86::rcx, x86::rcx);
    a_.long_().jz(done);
    poll_or(slow);
    a_.long_().jmp(next);
    a_.bind(done);
    by_handler(op, slow);
}

// Both strings' pages: the first's host address in JitContext::scratch, the second's in T1, the elements that lie in
// both in T0. Four registers are saved.
void UnitEmitter::push_both(const ir::Op& op, bool write) {
    check_piece(op, x86::rsi, false);
    a_.mov(CALQUE_CONTEXT(scratch), t1);
    check_piece(op, x86::rdi, write);
    a_.push(x86::rdx);
    piece_at_both(op);
    a_.push(x86::rcx);
    a_.push(x86::rsi);
    a_.push(x86::rdi);
}

// T0: the elements done.
void UnitEmitter::pop_both(const ir::Op& op) {
    a_.pop(x86::rdi);
    a_.pop(x86::rsi);
    a_.pop(x86::rcx);
    a_.pop(x86::rdx);
    advance_count(op);
    a_.add(x86::rsi, t0);
}

void UnitEmitter::emit_fill(const ir::Op& op) {
    clobber_with(op, {cpu::rcx, cpu::rdi});
    const Label slow = a_.newLabel(), next = a_.newLabel(), done = a_.newLabel();
    begin_pieces(next, done, slow);
    check_piece(op, x86::rdi, true);
    piece_at(op, x86::edi);
    a_.push(t0);
    a_.push(x86::rcx);
    a_.push(x86::rdi);
    a_.mov(x86::rdi, t1);
    a_.mov(x86::rcx, t0);
    a_.mov(t0, host_gpq(cpu::rax));
    switch (op.access_bytes) {
    case 1: a_.rep().stosb(); break;
    case 2: a_.rep().stosw(); break;
    case 4: a_.rep().stosd(); break;
    default: a_.rep().stosq(); break;
    }
    a_.pop(x86::rdi);
    a_.pop(x86::rcx);
    a_.pop(t0);
    advance_count(op);
    end_pieces(op, next, done, slow);
}

// Two pages may be one page of memory, mapped twice in the mirror too. The host's REP MOVS tells by the addresses
// whether it may copy 64 bytes at a time: a destination that is less ahead of its source would not see its own writes.
void UnitEmitter::check_not_just_ahead(Label slow) {
    constexpr i32 too_near = 256; // More than any host copies at a time.
    if (!request_.mirror) return;
    a_.mov(t0d, x86::edi);
    a_.sub(t0d, x86::esi);
    a_.and_(t0d, static_cast<i32>(page_offset_mask));
    a_.sub(t0d, 1); // In the same place of their pages they may be.
    a_.cmp(t0d, too_near - 2);
    a_.long_().j(x86::CondCode::kBE, slow);
}

void UnitEmitter::emit_copy(const ir::Op& op) {
    clobber_with(op, {cpu::rcx, cpu::rsi, cpu::rdi});
    const Label slow = a_.newLabel(), next = a_.newLabel(), done = a_.newLabel();
    begin_pieces(next, done, slow);
    check_not_just_ahead(slow);
    push_both(op, true);
    a_.mov(x86::rcx, t0);
    a_.mov(x86::rsi, CALQUE_CONTEXT_BELOW(scratch, 32));
    a_.mov(x86::rdi, t1);
    switch (op.access_bytes) {
    case 1: a_.rep().movsb(); break;
    case 2: a_.rep().movsw(); break;
    case 4: a_.rep().movsd(); break;
    default: a_.rep().movsq(); break;
    }
    pop_both(op); // T0 is still the number of elements.
    end_pieces(op, next, done, slow);
}

// The bit offset in the register is signed; the operand is the one that has the bit.
void UnitEmitter::emit_bit_string(const ir::Op& op) {
    const std::string_view name = cpu::instruction_table()[op.guest.row].name;
    const bool wide = op.access_bytes == 8;
    const i32 mask = wide ? 63 : 31;
    before_clobber(op);
    address_to_t0(op, op.access != ir::MemoryAccess::read, op.access_bytes);
    read_guest(t1, op.guest.source);
    if (!wide) a_.movsxd(t1, t1d);
    a_.sar(t1, 3);
    a_.and_(t1, -static_cast<i32>(op.access_bytes));
    a_.add(t0, t1);
    check_memory(op, op.access != ir::MemoryAccess::read, op.access_bytes, false);
    join_address();
    read_guest(t0, op.guest.source);
    a_.and_(t0d, mask);
    if (needs_host_flags(op)) {
        a_.mov(CALQUE_CONTEXT(scratch), t0);
        flags_to_host();
        a_.mov(t0, CALQUE_CONTEXT(scratch));
    }
    const x86::Mem operand = x86::ptr(t1, 0, op.access_bytes);
    const x86::Gp bit = sized(t0, op.access_bytes);
    if (op.guest.lock()) a_.lock();
    if (name == "BT")
        a_.bt(operand, bit);
    else if (name == "BTS")
        a_.bts(operand, bit);
    else if (name == "BTR")
        a_.btr(operand, bit);
    else
        a_.btc(operand, bit);
    after_execution(op);
}

} // namespace calque::jit
