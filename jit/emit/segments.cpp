// Segment registers, string instructions, PUSHA and POPA.
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {

constexpr std::size_t selector_at(unsigned segment) {
    return offsetof(cpu::CpuState, segment) + segment * sizeof(cpu::SegmentRegister)
           + offsetof(cpu::SegmentRegister, selector);
}
constexpr std::size_t base_at(unsigned segment) {
    return offsetof(cpu::CpuState, segment) + segment * sizeof(cpu::SegmentRegister)
           + offsetof(cpu::SegmentRegister, base);
}
x86::Mem state_at(std::size_t offset, u32 size) { return x86::ptr(t1, static_cast<i32>(offset), size); }

} // namespace

// To the handler, out of line.
asmjit::Label UnitEmitter::handler_label(const ir::Op& op) {
    const Label label = a_.newLabel();
    const u32 number = site_number(new_site(op));
    later([this, label, number] {
        a_.bind(label);
        set_site(number);
        a_.jmp(thunk(request_.thunks.interpret));
    });
    return label;
}

// T0: an offset of 16 bits. Several elements from there on may not lie at 0 again.
void UnitEmitter::check_no_wrap(const ir::Op& op, u32 bytes) {
    const Label wraps = handler_label(op);
    a_.cmp(t0d, static_cast<i32>(0x10000 - bytes));
    a_.long_().ja(wraps);
}

// --- Segment registers

void UnitEmitter::emit_read_segment(const ir::Op& op) {
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.movzx(t0d, state_at(selector_at(op.guest.source), 2));
    const unsigned dest = op.guest.dest;
    if (op.guest.operand_size != 2)
        write_guest(dest, t0);
    else if (pinned(dest))
        a_.mov(host_gpq(dest).r16(), t0.r16());
    else
        a_.mov(spilled_slot(dest, 2), t0.r16());
    after_execution(op);
}

// Four bytes are pushed as two, with room for four.
void UnitEmitter::emit_push_segment(const ir::Op& op) {
    const u32 bytes = stack_bytes(op), stored = bytes == 4 ? 2 : bytes;
    before_access(op);
    check_stack(op, host_gpq(cpu::rsp), pushed(op), true);
    join_address();
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(CALQUE_CONTEXT(scratch), t1);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.movzx(t0d, state_at(selector_at(op.guest.dest), 2));
    a_.mov(t1, CALQUE_CONTEXT(scratch));
    a_.mov(x86::ptr(t1, 0, stored), sized(t0, stored));
    advance_stack(pushed(op));
    after_execution(op);
}

// What the last x87 operand was named by keeps its selector: the handler notes that first.
void UnitEmitter::before_segment_load(const ir::Op& op, unsigned segment) {
    const Label noted = handler_label(op);
    a_.cmp(CALQUE_CONTEXT(x87_data_segment), static_cast<i32>(segment + 1));
    a_.long_().je(noted);
}

// T0: the selector, zero-extended. Real and virtual-8086 mode: limit and rights stay as they are.
void UnitEmitter::set_segment(unsigned segment) {
    using Segment = JitContext::Segment;
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.mov(state_at(selector_at(segment), 2), t0.r16());
    a_.shl(t0d, 4);
    a_.mov(state_at(base_at(segment), 8), t0);
    a_.mov(context_at(offsetof(JitContext, segments) + segment * sizeof(Segment) + offsetof(Segment, base), 8), t0);
}

void UnitEmitter::emit_load_segment(const ir::Op& op) {
    before_clobber(op);
    before_segment_load(op, op.guest.dest);
    if (op.access != ir::MemoryAccess::none) {
        check_operand(op);
        load(t0, operand(2), 2);
    } else {
        read_guest(t0, op.guest.source);
        a_.movzx(t0d, t0.r16());
    }
    set_segment(op.guest.dest);
}

void UnitEmitter::emit_pop_segment(const ir::Op& op) {
    before_clobber(op);
    if (flags_ == FlagsIn::recipe && recipe_.uses(cpu::rsp)) flags_to_packed();
    before_segment_load(op, op.guest.dest);
    check_stack(op, host_gpq(cpu::rsp), 0, false);
    load(t0, operand(2), 2);
    set_segment(op.guest.dest);
    advance_stack(static_cast<i32>(stack_bytes(op)));
    if (recipe_.uses(cpu::rsp)) recipe_.kind = FlagRecipe::Kind::none;
}

void UnitEmitter::emit_load_far_pointer(const ir::Op& op) {
    const u32 bytes = op.guest.operand_size;
    before_clobber(op);
    if (flags_ == FlagsIn::recipe && recipe_.uses(op.guest.dest)) flags_to_packed();
    before_segment_load(op, op.far_segment);
    offset_to_t0(op);
    if (op.guest.address_bytes() == 2) check_no_wrap(op, bytes + 2);
    add_segment(op, op.segment, false, bytes + 2);
    check_memory(op, false, bytes + 2, false);
    join_address();
    a_.movzx(t0d, x86::word_ptr(t1, static_cast<i32>(bytes)));
    a_.mov(sized(host_gpq(op.guest.dest), bytes), x86::ptr(t1, 0, bytes));
    if (recipe_.uses(op.guest.dest)) recipe_.kind = FlagRecipe::Kind::none;
    set_segment(op.far_segment);
}

// --- Strings

// The offset that RSI or RDI is, in T0.
void UnitEmitter::string_offset(const ir::Op& op, const x86::Gpq& pointer) {
    switch (op.guest.address_bytes()) {
    case 8: a_.mov(t0, pointer); break;
    case 4: a_.mov(t0d, pointer.r32()); break;
    default: a_.movzx(t0d, pointer.r16()); break;
    }
}

// By one element, up or down. Flags are kept.
void UnitEmitter::advance_string(const ir::Op& op, const x86::Gpq& pointer) {
    const unsigned shift = op.access_bytes == 1 ? 0 : op.access_bytes == 2 ? 1 : op.access_bytes == 4 ? 2 : 3;
    a_.mov(t0, CALQUE_CONTEXT(direction));
    const x86::Mem next = x86::ptr(pointer, t0, shift);
    switch (op.guest.address_bytes()) {
    case 8: a_.lea(pointer, next); break;
    case 4: a_.lea(pointer.r32(), next); break;
    default:
        a_.lea(t0d, next);
        a_.mov(pointer.r16(), t0.r16());
        break;
    }
}

x86::Gp UnitEmitter::accumulator(u32 bytes) {
    const x86::Gpq a = host_gpq(cpu::rax);
    return bytes == 1 ? x86::Gp(a.r8()) : sized(a, bytes);
}

void UnitEmitter::emit_string_load(const ir::Op& op) {
    const u32 bytes = op.access_bytes;
    before_clobber(op);
    string_offset(op, x86::rsi);
    add_segment(op, op.segment, false, bytes);
    check_memory(op, false, bytes, false);
    join_address();
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(accumulator(bytes), x86::ptr(t1, 0, bytes));
    advance_string(op, x86::rsi);
    after_execution(op);
}

void UnitEmitter::emit_string_store(const ir::Op& op) {
    const u32 bytes = op.access_bytes;
    before_clobber(op);
    string_offset(op, x86::rdi);
    add_segment(op, op.far_segment, true, bytes);
    check_memory(op, true, bytes, false);
    join_address();
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(x86::ptr(t1, 0, bytes), accumulator(bytes));
    advance_string(op, x86::rdi);
    after_execution(op);
}

void UnitEmitter::emit_string_move(const ir::Op& op) {
    const u32 bytes = op.access_bytes;
    ir::Op read = op; // The check of the first operand is one for reading.
    read.access = ir::MemoryAccess::read;
    before_clobber(op);
    string_offset(op, x86::rsi);
    add_segment(op, op.segment, false, bytes);
    check_memory(read, false, bytes, false);
    join_address();
    if (bytes == 1)
        a_.movzx(t0d, x86::byte_ptr(t1));
    else
        load(t0, x86::ptr(t1, 0, bytes), bytes);
    a_.mov(CALQUE_CONTEXT(scratch), t0);
    string_offset(op, x86::rdi);
    add_segment(op, op.far_segment, true, bytes);
    check_memory(op, true, bytes, false);
    join_address();
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(t0, CALQUE_CONTEXT(scratch));
    a_.mov(x86::ptr(t1, 0, bytes), bytes == 1 ? x86::Gp(t0.r8()) : sized(t0, bytes));
    advance_string(op, x86::rsi);
    advance_string(op, x86::rdi);
    after_execution(op);
}

void UnitEmitter::emit_set_direction(const ir::Op& op) {
    constexpr std::size_t rflags_at = offsetof(cpu::CpuState, rflags);
    before_clobber(op);
    a_.mov(t1, CALQUE_CONTEXT(state));
    const bool down = op.condition != 0;
    if (down)
        a_.or_(state_at(rflags_at, 4), static_cast<i32>(cpu::flag_df));
    else
        a_.and_(state_at(rflags_at, 4), static_cast<i32>(~static_cast<u32>(cpu::flag_df)));
    a_.mov(CALQUE_CONTEXT(direction), down ? -1 : 1);
}

// --- All registers

void UnitEmitter::check_all_registers(const ir::Op& op, i32 distance, bool write) {
    const ir::Surroundings& around = request_.unit.around;
    const u32 bytes = op.access_bytes;
    const x86::Gpq pointer = host_gpq(cpu::rsp);
    before_clobber(op);
    a_.lea(t0d, x86::ptr(pointer, distance));
    if (around.stack_address_bytes == 2) {
        a_.movzx(t0d, t0.r16());
        check_no_wrap(op, bytes);
    }
    add_segment(op, around.stack_segment, write, bytes);
    check_memory(op, write, bytes, false);
    join_address();
    if (needs_host_flags(op)) flags_to_host();
}

void UnitEmitter::emit_push_all(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    check_all_registers(op, 8 * pushed(op), true);
    for (unsigned n = 0; n < 8; ++n)
        a_.mov(x86::ptr(t1, static_cast<i32>((7 - n) * bytes), bytes), sized(host_gpq(n), bytes));
    advance_stack(8 * pushed(op));
    after_execution(op);
}

void UnitEmitter::emit_pop_all(const ir::Op& op) {
    const u32 bytes = stack_bytes(op);
    check_all_registers(op, 0, false);
    for (unsigned n = 0; n < 8; ++n)
        if (n != cpu::rsp) a_.mov(sized(host_gpq(n), bytes), x86::ptr(t1, static_cast<i32>((7 - n) * bytes), bytes));
    advance_stack(-8 * pushed(op));
    after_execution(op);
}

// --- Flags in AH

void UnitEmitter::emit_flags_to_ah(const ir::Op& op) {
    const x86::Gpq a = host_gpq(cpu::rax);
    flags_to_host();
    a_.lahf();
    a_.movzx(t0d, x86::ah);
    a_.rorx(a, a, 8);
    a_.mov(a.r8(), x86::al);
    a_.rorx(a, a, 56);
    after_execution(op);
}

void UnitEmitter::emit_flags_from_ah(const ir::Op& op) {
    if (needs_host_flags(op)) flags_to_host();
    a_.mov(t0d, host_gpq(cpu::rax).r32());
    a_.sahf();
    after_execution(op);
}

} // namespace calque::jit
