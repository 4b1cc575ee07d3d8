// SYSCALL, SYSRET, STAC and CLAC: from one mode to another without leaving translated code. What they change that other
// translated code does not look at (segments, the CPL) the processor is told later: JitContext::unsynced.
#include "cpu/system/canonical.h"
#include "jit/emit/unit_emitter.h"
#include "mmu/tlb_layout.h"

namespace calque::jit {

namespace {

x86::Mem state_at(std::size_t offset, u32 size = 8) { return x86::ptr(t1, static_cast<i32>(offset), size); }
constexpr std::size_t rflags_at = offsetof(cpu::CpuState, rflags);
constexpr i32 arithmetic = static_cast<i32>(cpu::arithmetic_flags);
// What changes how code runs: left to the handlers.
constexpr i32 special = static_cast<i32>(cpu::flag_tf | cpu::flag_ac | cpu::flag_df);
// The bits of R11 that SYSRET loads (SDM volume 2, SYSRET).
constexpr i32 loaded_flags = 0x3C7FD7;
constexpr PackedFlags no_flags = 0x0200;

} // namespace

// EFER.SCE; DF, of which the context has a copy, is clear and stays so; and no x87 instruction waits to be noted with
// CS as it is. T1: the state.
void UnitEmitter::check_system_calls(Label off) {
    a_.cmp(CALQUE_CONTEXT(direction), 1);
    a_.long_().jne(off);
    a_.cmp(CALQUE_CONTEXT(x87_instruction), 0);
    a_.long_().jne(off);
    a_.cmp(CALQUE_CONTEXT(x87_data_segment), 0);
    a_.long_().jne(off);
    a_.mov(t1, CALQUE_CONTEXT(state));
    a_.test(state_at(offsetof(cpu::CpuState, efer), 1), static_cast<i32>(cpu::efer_sce));
    a_.long_().jz(off);
}

// The target cache of that mode's table is for code of that mode.
void UnitEmitter::check_mode(const UnitMode& mode, Label other) {
    a_.cmp(jit::table_at(table_of(mode.rights()) + mmu::tlb_code_key_offset, 4), static_cast<i32>(mode.key()));
    a_.long_().jne(other);
}

// T0: the address to go on at. Flags are packed.
void UnitEmitter::go_to_mode(const UnitMode& mode) {
    const u64 targets = table_of(mode.rights()) + mmu::tlb_targets_offset;
    const Label unknown = a_.newLabel();
    a_.rorx(t1, t0, page_shift - 1); // mmu::tlb_target_slot(), times two.
    a_.lea(t1d, x86::ptr(t1, t0, 1));
    a_.and_(t1d, static_cast<i32>((mmu::tlb_target_count - 1) * 2));
    a_.cmp(t0, jit::table_at_scaled(t1, targets, 8));
    a_.long_().jne(unknown);
    count_computed(true);
    a_.jmp(jit::table_at_scaled(t1, targets + 8, 8));
    const u32 go_on = request_.thunks.go_on[mode.is.rights];
    later([this, unknown, go_on] {
        a_.bind(unknown);
        a_.mov(CALQUE_CONTEXT(leave_rip), t0);
        count_computed(false);
        a_.jmp(thunk(go_on));
    });
}

void UnitEmitter::emit_system_call(const ir::Op& op) {
    flags_to_packed();
    const UnitMode to = system_mode(request_.mode);
    const Label slow = a_.newLabel();
    poll_or(slow);
    check_mode(to, slow);
    check_system_calls(slow);
    // RCX and R11 are lost in any case. FMASK has to clear what is not handled here.
    a_.mov(t0d, CALQUE_CONTEXT(flags));
    a_.movzx(x86::ecx, x86::al);
    a_.movzx(t0d, x86::ah);
    a_.shl(x86::ecx, 11);
    a_.or_(t0d, x86::ecx);
    a_.or_(t0d, state_at(rflags_at, 4));
    a_.mov(x86::r11d, t0d);
    a_.mov(x86::ecx, state_at(offsetof(cpu::CpuState, fmask), 4));
    a_.andn(x86::ecx, x86::ecx, t0d);
    a_.test(x86::ecx, arithmetic | special);
    a_.long_().jnz(slow);
    a_.or_(x86::ecx, static_cast<i32>(cpu::flag_one));
    a_.mov(state_at(rflags_at), x86::rcx);
    a_.mov(CALQUE_CONTEXT(flags), no_flags);
    a_.mov(CALQUE_CONTEXT(unsynced), sync_system_call);
    a_.mov(t0, state_at(offsetof(cpu::CpuState, lstar)));
    address_of_code(x86::rcx, op.next_rip());
    go_to_mode(to);
    to_interpreter(slow, site_number(new_site(op)));
}

void UnitEmitter::emit_system_return(const ir::Op& op) {
    flags_to_packed();
    const UnitMode to = program_mode(request_.mode);
    const Label slow = a_.newLabel();
    poll_for_all_or(slow);
    a_.test(x86::r11d, special);
    a_.long_().jnz(slow);
    a_.mov(t0, x86::rcx);
    a_.shl(t0, 64 - cpu::linear_address_bits);
    a_.sar(t0, 64 - cpu::linear_address_bits);
    a_.cmp(t0, x86::rcx);
    a_.long_().jne(slow);
    check_mode(to, slow);
    check_system_calls(slow);
    a_.mov(t0d, x86::r11d);
    a_.and_(t0d, loaded_flags & ~arithmetic);
    a_.or_(t0d, static_cast<i32>(cpu::flag_one));
    a_.mov(state_at(rflags_at), t0);
    // Packed: the low byte is AH's, OF (bit 11) is AL.
    a_.mov(t0d, x86::r11d);
    a_.mov(t1d, x86::r11d);
    a_.and_(t1d, arithmetic & 0xFF);
    a_.shl(t1d, 8);
    a_.shr(t0d, 11);
    a_.and_(t0d, 1);
    a_.lea(t0d, x86::ptr(t0, t1, 0, no_flags));
    a_.mov(CALQUE_CONTEXT(flags), t0d);
    a_.mov(CALQUE_CONTEXT(unsynced), sync_system_return);
    a_.mov(t0, x86::rcx);
    go_to_mode(to);
    to_interpreter(slow, site_number(new_site(op)));
}

void UnitEmitter::emit_change_access(const ir::Op& op) {
    const bool allow = request_.mode.rights() == mmu::RightsMode::supervisor;
    if (flags_ == FlagsIn::host) before_clobber(op);
    a_.mov(t1, CALQUE_CONTEXT(state));
    if (allow)
        a_.or_(state_at(rflags_at, 4), static_cast<i32>(cpu::flag_ac));
    else
        a_.and_(state_at(rflags_at, 4), static_cast<i32>(~static_cast<u32>(cpu::flag_ac)));
    a_.or_(CALQUE_CONTEXT(unsynced), sync_access);
    const std::size_t number = out_.exits.size();
    leave_to(op.target, op.rip);
    out_.exits[number].rights = access_mode(request_.mode, allow).rights();
}

} // namespace calque::jit
