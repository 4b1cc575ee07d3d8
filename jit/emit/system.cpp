// Instructions of the kernel that are frequent enough not to go through their handlers.
#include "cpu/table.h"
#include "jit/emit/unit_emitter.h"

namespace calque::jit {

namespace {

x86::Mem state_at(std::size_t offset, u32 size = 8) { return x86::ptr(t1, static_cast<i32>(offset), size); }
constexpr std::size_t rflags_at = offsetof(cpu::CpuState, rflags);

} // namespace

void UnitEmitter::emit_swap_gs(const ir::Op&) {
    constexpr std::size_t base_at = offsetof(cpu::CpuState, segment) + cpu::Segment::gs * sizeof(cpu::SegmentRegister)
                                    + offsetof(cpu::SegmentRegister, base);
    constexpr std::size_t kernel_at = offsetof(cpu::CpuState, kernel_gs_base);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.mov(t0, state_at(kernel_at));
    a_.mov(CALQUE_CONTEXT(scratch), t0);
    a_.mov(t0, CALQUE_CONTEXT(gs_base));
    a_.mov(state_at(kernel_at), t0);
    a_.mov(t0, CALQUE_CONTEXT(scratch));
    a_.mov(state_at(base_at), t0);
    a_.mov(CALQUE_CONTEXT(gs_base), t0);
}

void UnitEmitter::emit_disable_interrupts(const ir::Op& op) {
    before_clobber(op);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.and_(state_at(rflags_at, 4), static_cast<i32>(~static_cast<u32>(cpu::flag_if)));
}

void UnitEmitter::emit_enable_interrupts(const ir::Op& op) {
    flags_to_packed();
    const Label slow = a_.newLabel();
    poll_for_all_or(slow);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.or_(state_at(rflags_at, 4), static_cast<i32>(cpu::flag_if));
    interrupts_on_ = true;
    later([this, slow, number = site_number(new_site(op))] { to_interpreter(slow, number); });
}

void UnitEmitter::poll_before(u64 rip) {
    if (flags_ != FlagsIn::packed) flags_to_host();
    const std::size_t number = out_.exits.size();
    Exit& exit = out_.exits.emplace_back();
    exit.target = rip;
    exit.flags = flags_;
    exit.unit = request_.unit_index;
    exit.rights = request_.mode.rights();
    const Label stub = a_.newLabel();
    poll_backward(stub);
    exit_stub(number, stub);
}

// RFLAGS without RF and VM; the arithmetic flags are those of the packed form: AH is the low byte, AL is OF.
void UnitEmitter::emit_push_flags(const ir::Op& op) {
    flags_to_packed();
    constexpr i32 never_pushed = static_cast<i32>(~static_cast<u32>(cpu::flag_rf | cpu::flag_vm));
    a_.mov(t0d, CALQUE_CONTEXT(flags));
    a_.movzx(t1d, x86::al);
    a_.movzx(t0d, x86::ah);
    a_.shl(t1d, 11);
    a_.or_(t0d, t1d);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.or_(t0d, state_at(rflags_at, 4));
    a_.and_(t0d, never_pushed);
    a_.mov(CALQUE_CONTEXT(scratch), t0);
    check_stack(op, host_gpq(cpu::rsp), pushed(op), true);
    join_address();
    a_.mov(t0, CALQUE_CONTEXT(scratch));
    a_.mov(x86::ptr(t1, 0, stack_bytes(op)), sized(t0, stack_bytes(op)));
    advance_stack(pushed(op));
}

// Most often nothing but arithmetic flags changes; all else is for the handler. RF and VM are not looked at.
void UnitEmitter::emit_pop_flags(const ir::Op& op) {
    constexpr u32 others =
        cpu::flag_tf | cpu::flag_if | cpu::flag_df | cpu::flag_iopl | cpu::flag_nt | cpu::flag_ac | cpu::flag_id;
    constexpr u32 low_byte = cpu::arithmetic_flags & 0xFF;
    const u32 bytes = stack_bytes(op);
    flags_to_packed();
    check_stack(op, host_gpq(cpu::rsp), 0, false);
    load(t0, operand(bytes), bytes);
    const Label slow = a_.newLabel();
    a_.mov(CALQUE_CONTEXT(scratch), t0);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.xor_(t0d, state_at(rflags_at, 4));
    a_.test(t0d, static_cast<i32>(bytes == 2 ? others & 0xFFFF : others));
    a_.long_().jnz(slow);
    advance_stack(static_cast<i32>(bytes));
    a_.mov(t0d, CALQUE_CONTEXT(scratch)); // As pack_flags() has them: AH is the low byte, AL is OF.
    a_.rorx(t1d, t0d, 11);
    a_.and_(t0d, static_cast<i32>(low_byte));
    a_.and_(t1d, 1);
    a_.shl(t0d, 8);
    a_.lea(t0d, x86::ptr(t0, t1, 0, 0x200));
    a_.mov(CALQUE_CONTEXT(flags), t0d);
    recipe_.kind = FlagRecipe::Kind::none;
    later([this, slow, number = site_number(new_site(op))] { to_interpreter(slow, number); });
}

// RDTSC and RDTSCP, which waits until all loads before it are done.
void UnitEmitter::emit_read_timestamp(const ir::Op& op) {
    const bool with_id = cpu::instruction_table()[op.guest.row].name == "RDTSCP";
    clobber_with(op, {cpu::rax, cpu::rcx, cpu::rdx});
    const Label by_call = a_.newLabel(), done = a_.newLabel();
    const auto scale_at = [](std::size_t offset) { return x86::qword_ptr(t1, static_cast<i32>(offset)); };
    a_.mov(t1, CALQUE_CONTEXT(timestamp_scale));
    a_.test(t1, t1);
    a_.long_().jz(by_call);
    a_.mov(t1, x86::qword_ptr(t1));
    a_.test(t1, t1);
    a_.long_().jz(by_call);
    if (with_id) a_.lfence();
    a_.rdtsc();
    a_.shl(x86::rdx, 32);
    a_.or_(x86::rax, x86::rdx);
    a_.sub(x86::rax, scale_at(offsetof(CounterScale, first)));
    a_.mul(scale_at(offsetof(CounterScale, multiplier)));
    a_.shrd(x86::rax, x86::rdx, 32);
    a_.add(x86::rax, scale_at(offsetof(CounterScale, value)));
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.add(x86::rax, state_at(offsetof(cpu::CpuState, tsc_offset)));
    a_.bind(done);
    a_.mov(host_gpq(cpu::rax).r32(), t0d);
    a_.rorx(x86::rdx, t0, 32);
    a_.mov(x86::edx, x86::edx);
    if (with_id) {
        a_.mov(t1, CALQUE_CONTEXT(state));
        a_.mov(x86::ecx, state_at(offsetof(cpu::CpuState, tsc_aux), 4));
    }
    later([this, by_call, done] {
        a_.bind(by_call);
        a_.call(thunk(request_.thunks.read_timestamp));
        a_.jmp(done);
    });
}

} // namespace calque::jit
