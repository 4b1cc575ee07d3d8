// Registers of the processor that are no more than a field of its state.
#include "cpu/system/canonical.h"
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {

using ir::StateField;

x86::Mem state_at(std::size_t offset, u32 size = 8) { return x86::ptr(t1, static_cast<i32>(offset), size); }

constexpr std::size_t segment_at(unsigned segment) {
    return offsetof(cpu::CpuState, segment) + segment * sizeof(cpu::SegmentRegister);
}
constexpr std::size_t base_at(StateField field) {
    return segment_at(field == StateField::fs_base ? cpu::fs : cpu::gs) + offsetof(cpu::SegmentRegister, base);
}

struct Place {
    std::size_t offset;
    u32 size;
};
Place place_of(StateField field) {
    constexpr std::size_t selector = offsetof(cpu::SegmentRegister, selector);
    switch (field) {
    case StateField::cr0: return {offsetof(cpu::CpuState, cr0), 8};
    case StateField::cr2: return {offsetof(cpu::CpuState, cr2), 8};
    case StateField::cr3: return {offsetof(cpu::CpuState, cr3), 8};
    case StateField::cr4: return {offsetof(cpu::CpuState, cr4), 8};
    case StateField::es: return {segment_at(cpu::es) + selector, 2};
    case StateField::cs: return {segment_at(cpu::cs) + selector, 2};
    case StateField::ss: return {segment_at(cpu::ss) + selector, 2};
    case StateField::ds: return {segment_at(cpu::ds) + selector, 2};
    case StateField::fs: return {segment_at(cpu::fs) + selector, 2};
    case StateField::gs: return {segment_at(cpu::gs) + selector, 2};
    case StateField::fs_base:
    case StateField::gs_base: break;
    }
    return {base_at(field), 8};
}
bool is_base(StateField field) { return field == StateField::fs_base || field == StateField::gs_base; }

} // namespace

// T1: the state. CR4 has the bit, or the handler raises #UD.
void UnitEmitter::check_cr4(const ir::Op& op, u64 bit) {
    const Label off = a_.newLabel();
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.test(state_at(offsetof(cpu::CpuState, cr4), 4), static_cast<i32>(bit));
    a_.long_().jz(off);
    by_handler(op, off);
}

// The handler does the instruction at `slow`, and leaves.
void UnitEmitter::by_handler(const ir::Op& op, Label slow) {
    const u32 number = site_number(new_site(op));
    later([this, slow, number] {
        a_.bind(slow);
        set_site(number);
        a_.jmp(thunk(request_.thunks.interpret));
    });
}

void UnitEmitter::emit_read_state(const ir::Op& op) {
    clobber_with(op, {op.guest.dest});
    if (op.field == StateField::cs || op.field == StateField::ss) { // SYSCALL and SYSRET may be untold.
        const Label untold = a_.newLabel();
        a_.cmp(CALQUE_CONTEXT(unsynced), 0);
        a_.long_().jne(untold);
        by_handler(op, untold);
    }
    if (is_base(op.field))
        check_cr4(op, cpu::cr4_fsgsbase);
    else
        a_.mov(t1, CALQUE_CONTEXT(state));
    const Place place = place_of(op.field);
    if (place.size == 2)
        a_.movzx(t0d, state_at(place.offset, 2));
    else if (op.guest.operand_size == 8 || !is_base(op.field))
        a_.mov(t0, state_at(place.offset));
    else
        a_.mov(t0d, state_at(place.offset, 4));
    write_guest(op.guest.dest, t0);
}

void UnitEmitter::emit_write_base(const ir::Op& op) {
    before_clobber(op);
    check_cr4(op, cpu::cr4_fsgsbase);
    const Label not_canonical = a_.newLabel();
    read_guest(t0, op.guest.dest);
    if (op.guest.operand_size != 8) a_.mov(t0d, t0d);
    a_.mov(t1, t0);
    a_.shl(t1, 64 - cpu::linear_address_bits);
    a_.sar(t1, 64 - cpu::linear_address_bits);
    a_.cmp(t1, t0);
    a_.long_().jne(not_canonical);
    by_handler(op, not_canonical);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.mov(state_at(base_at(op.field)), t0);
    a_.mov(op.field == StateField::fs_base ? CALQUE_CONTEXT(fs_base) : CALQUE_CONTEXT(gs_base), t0);
}

void UnitEmitter::emit_read_keys(const ir::Op& op) {
    clobber_with(op, {cpu::rax, cpu::rdx});
    check_cr4(op, cpu::cr4_pke);
    const Label not_zero = a_.newLabel();
    a_.test(x86::ecx, x86::ecx);
    a_.long_().jnz(not_zero);
    by_handler(op, not_zero);
    a_.mov(host_gpq(cpu::rax).r32(), state_at(offsetof(cpu::CpuState, pkru), 4));
    a_.xor_(x86::edx, x86::edx);
}

// Kernels write what is there already at each signal. Anything else changes what pages may be accessed.
void UnitEmitter::emit_write_keys(const ir::Op& op) {
    before_clobber(op);
    check_cr4(op, cpu::cr4_pke);
    const Label by_the_handler = a_.newLabel();
    a_.mov(t0d, x86::ecx);
    a_.or_(t0d, x86::edx);
    a_.long_().jnz(by_the_handler);
    a_.cmp(host_gpq(cpu::rax).r32(), state_at(offsetof(cpu::CpuState, pkru), 4));
    a_.long_().jne(by_the_handler);
    by_handler(op, by_the_handler);
}

void UnitEmitter::emit_pause(const ir::Op&) { a_.pause(); }
void UnitEmitter::emit_memory_fence(const ir::Op&) { a_.mfence(); }

} // namespace calque::jit
