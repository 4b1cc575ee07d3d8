#include "cpu/cpu.h"

#include "cpu/system/canonical.h"

namespace calque::cpu {

Cpu::Cpu(u32 number, const CpuModel& cpu_model, mmu::PhysicalMap& memory, Platform& around, Log& logger)
    : mmu(memory, logger), platform(around), log(logger), model(cpu_model), index(number) {
    mmu.set_kick([this] { request(event_mmu); });
    reset();
}

Cpu::~Cpu() = default;

namespace {

constexpr u16 rights_data = 0x93; // Present, writable, accessed, DPL 0.
constexpr u16 rights_ldt = 0x82;  // Present LDT.
constexpr u16 rights_tss = 0x8B;  // Present busy 32-bit TSS.
constexpr u64 cr0_reset = cr0_cd | cr0_nw | cr0_et;
constexpr u64 dr6_reset = 0xFFFF0FF0, dr7_reset = 0x400;

// What RESET# and INIT# set alike (SDM volume 3, table 9-1).
void set_initial_registers(CpuState& s, u32 signature) {
    s.gpr = {};
    s.gpr[rdx] = signature;
    s.rip() = 0xFFF0;
    write_rflags(s, flag_one);
    for (unsigned n = es; n <= gs; ++n)
        s.segment[n] = {0, rights_data, 0xFFFF, 0};
    s.segment[cs] = {0xF000, rights_data, 0xFFFF, 0xFFFF0000};
    s.segment[ldtr] = {0, rights_ldt, 0xFFFF, 0};
    s.segment[tr] = {0, rights_tss, 0xFFFF, 0};
    s.gdtr = s.idtr = {0, 0xFFFF};
    s.cr2 = s.cr3 = s.cr4 = s.efer = 0;
    s.pdpte = {};
    s.dr = {};
    s.dr[6] = dr6_reset;
    s.dr[7] = dr7_reset;
    s.interrupt_shadow = s.debug_shadow = s.nmi_blocked = false;
    s.pending_debug = 0;
}

} // namespace

void Cpu::reset() {
    const bool was_in_smm = state.in_smm;
    state = CpuState{};
    set_initial_registers(state, model.signature());
    state.cr0 = cr0_reset;
    state.activity = platform.is_bootstrap() ? Activity::running : Activity::wait_for_sipi;
    exception_.reset();
    exit_.flow = Flow::exit;
    move_event(event_interrupt_aside, event_interrupt);
    events.fetch_and(event_stop | event_mmu | event_code | event_interrupt, std::memory_order_acq_rel);
    shadow_is_new_ = resume_flag_is_new_ = single_step_off_ = false;
    if (was_in_smm) platform.set_smm(false);
    mmu.flush_all(true);
    update_mode();
    request(event_check);
}

void Cpu::init() {
    const u64 cache_bits = state.cr0 & (cr0_cd | cr0_nw);
    set_initial_registers(state, model.signature());
    state.cr0 = cr0_et | cache_bits;
    state.activity = platform.is_bootstrap() ? Activity::running : Activity::wait_for_sipi;
    exception_.reset();
    exit_.flow = Flow::exit;
    shadow_is_new_ = resume_flag_is_new_ = single_step_off_ = false;
    mmu.flush_all(true);
    update_mode();
    log.trace(Channel::smp, "cpu {}: INIT", index);
}

void Cpu::startup(u8 vector) {
    state.segment[cs].selector = static_cast<u16>(vector << 8);
    state.segment[cs].base = u64{vector} << 12;
    state.rip() = 0;
    state.activity = Activity::running;
    update_mode();
    log.trace(Channel::smp, "cpu {}: starts at {:#x}", index, state.segment[cs].base);
}

void Cpu::update_mode() {
    const SegmentRegister& code = state.segment[cs];
    mode.protected_mode = state.cr0 & cr0_pe;
    mode.vm86 = mode.protected_mode && (state.rflags & flag_vm);
    mode.long_mode = state.efer & efer_lma;
    mode.mode64 = mode.long_mode && code.long_mode();
    mode.code_size = mode.mode64 ? CodeSize::bits64 : code.big() && !mode.vm86 ? CodeSize::bits32 : CodeSize::bits16;
    mode.stack32 = state.segment[ss].big() && !mode.vm86;
    // The CPL is SS's DPL, whatever CS's RPL says: right after CR0.PE is set it is 0 with any selector in CS.
    mode.cpl = mode.vm86 ? 3 : mode.protected_mode ? state.segment[ss].dpl() : 0;

    constexpr u8 ud = static_cast<u8>(Vector::invalid_opcode), nm = static_cast<u8>(Vector::device_not_available);
    const bool em = state.cr0 & cr0_em, ts = state.cr0 & cr0_ts;
    mode.x87_fault = em || ts ? nm : 0;
    mode.wait_fault = ts && (state.cr0 & cr0_mp) ? nm : 0;
    mode.mmx_fault = em ? ud : ts ? nm : 0;
    mode.sse_fault = em || !(state.cr4 & cr4_osfxsr) ? ud : ts ? nm : 0;
    const bool avx_on = (state.cr4 & cr4_osxsave) && (state.xcr0 & 6) == 6 && mode.protected_mode && !mode.vm86;
    mode.avx_fault = !avx_on ? ud : ts ? nm : 0;

    update_paging_context();
    update_slow_flag();
}

void Cpu::update_paging_context() {
    mmu::PagingContext context;
    context.cr0 = state.cr0;
    context.cr3 = state.cr3;
    context.cr4 = state.cr4;
    context.efer = state.efer;
    context.pkru = state.pkru;
    context.cpl = mode.cpl;
    context.ac = state.rflags & flag_ac;
    context.smm = state.in_smm;
    context.alignment_check = context.ac && (state.cr0 & cr0_am) && mode.cpl == 3;
    for (unsigned n = 0; n < 4; ++n)
        context.pdpte[n] = state.pdpte[n];
    mmu.set_context(context);
}

void Cpu::update_slow_flag() {
    // RF needs it too: it lasts for one instruction.
    const bool slow = (state.rflags & (flag_tf | flag_rf)) || (state.dr[7] & 0xFF) || state.interrupt_shadow
                      || state.debug_shadow || state.pending_debug || debug.step;
    if (slow == ((events.load(std::memory_order_relaxed) & event_slow) != 0)) return;
    if (slow)
        request(event_slow);
    else
        withdraw(event_slow);
}

void Cpu::set_cpl(u8 cpl) {
    SegmentRegister& stack = state.segment[ss];
    stack.rights = static_cast<u16>((stack.rights & ~0x60) | cpl << 5);
    update_mode();
}

void Cpu::begin_shadow(bool debug_too) {
    state.interrupt_shadow = true;
    state.debug_shadow = debug_too;
    shadow_is_new_ = true;
    update_slow_flag();
}

void Cpu::end_shadow() {
    state.interrupt_shadow = state.debug_shadow = false;
    update_slow_flag();
}

Flow Cpu::raise(Vector vector, u32 error_code) {
    if (!exception_) exception_ = Exception{vector, error_code, 0};
    return Flow::fault;
}

Flow Cpu::raise_memory_fault(unsigned segment) {
    const mmu::Fault& fault = mmu.fault();
    switch (fault.kind) {
    case mmu::Fault::Kind::page_fault:
        if (!exception_) exception_ = Exception{Vector::page_fault, fault.error_code, fault.address.value};
        return Flow::fault;
    case mmu::Fault::Kind::alignment: return raise(Vector::alignment_check);
    case mmu::Fault::Kind::not_canonical:
    case mmu::Fault::Kind::none: break;
    }
    return raise(segment == ss || segment == flat_stack ? Vector::stack_fault : Vector::general_protection);
}

// SDM volume 3, 5.3 to 5.5. The rights that were cached count in protected mode only; the limit counts everywhere.
bool Cpu::linear_checked(unsigned segment, u64 offset, u64 size, mmu::Access access, LinearAddress& out) {
    const SegmentRegister& s = state.segment[segment];
    bool allowed = true;
    if (mode.protected_mode && !mode.vm86) {
        allowed = s.present();
        if (access == mmu::Access::write) allowed = allowed && s.writable();
        if (access == mmu::Access::read) allowed = allowed && s.readable();
    }
    const u64 last = offset + size - (size != 0);
    if (s.expand_down())
        allowed = allowed && offset > s.limit && last <= (s.big() ? 0xFFFFFFFF : 0xFFFF);
    else
        allowed = allowed && last <= s.limit;
    if (!allowed) [[unlikely]] {
        raise(segment == ss ? Vector::stack_fault : Vector::general_protection);
        return false;
    }
    out = LinearAddress(static_cast<u32>(s.base + offset));
    return true;
}

bool Cpu::jump_near(u64 target, unsigned operand_size) {
    if (operand_size < 8) target &= low_mask(operand_size * 8);
    if (mode.mode64 ? !is_canonical(target) : target > state.segment[cs].limit) {
        raise(Vector::general_protection);
        return false;
    }
    state.rip() = target;
    return true;
}

} // namespace calque::cpu
