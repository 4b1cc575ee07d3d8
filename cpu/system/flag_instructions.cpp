// PUSHF, POPF, CLI, STI, CLAC, STAC, with the virtual interrupt flag of VME and PVI (SDM volume 3, 20.3 and 20.4).
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

// Virtual-8086 mode below IOPL 3: the 16-bit forms work with VME, everything else is #GP.
bool vm86_sensitive(const Cpu& cpu) { return cpu.mode.vm86 && iopl(cpu.state) < 3; }
// What CLI and STI act on.
enum class InterruptFlag : u8 { real, virtual_one, forbidden };
InterruptFlag interrupt_flag_of(const Cpu& cpu) {
    if (!cpu.mode.protected_mode || iopl(cpu.state) >= cpu.mode.cpl) return InterruptFlag::real;
    const bool has_virtual = cpu.state.cr4 & (cpu.mode.vm86 ? cr4_vme : cr4_pvi);
    return has_virtual && cpu.mode.cpl == 3 ? InterruptFlag::virtual_one : InterruptFlag::forbidden;
}

Flow pushf(Cpu& cpu, const Instruction& i) {
    u64 image = cpu.rflags() & ~(flag_rf | flag_vm);
    if (vm86_sensitive(cpu)) {
        if (!(cpu.state.cr4 & cr4_vme) || i.operand_size != 2) return cpu.general_protection();
        image = (image & ~flag_if) | (cpu.state.rflags & flag_vif ? flag_if : 0) | flag_iopl;
    }
    return push_sized(cpu, image, i.operand_size) ? Flow::next : Flow::fault;
}

template <class T> bool pop_value(Cpu& cpu, u64& value) {
    T v = 0;
    const bool ok = cpu.pop(v);
    value = v;
    return ok;
}

// POPF below IOPL 3 in virtual-8086 mode, with VME: VIF gets what the program means for IF.
Flow popf_virtual(Cpu& cpu, unsigned size) {
    CpuState& s = cpu.state;
    const u64 before = s.gpr[rsp];
    u64 value = 0;
    if (!(s.cr4 & cr4_vme) || size != 2) return cpu.general_protection();
    if (!pop_value<u16>(cpu, value)) return Flow::fault;
    if ((value & flag_tf) || ((value & flag_if) && (s.rflags & flag_vip))) {
        s.gpr[rsp] = before;
        return cpu.general_protection();
    }
    constexpr u64 mask = (arithmetic_flags | flag_df | flag_nt | flag_tf) & 0xFFFF;
    write_rflags(s, (cpu.rflags() & ~(mask | flag_vif | flag_rf)) | (value & mask) | (value & flag_if ? flag_vif : 0));
    cpu.update_slow_flag();
    return Flow::exit;
}

Flow popf(Cpu& cpu, const Instruction& i) {
    if (vm86_sensitive(cpu)) return popf_virtual(cpu, i.operand_size);
    u64 value = 0;
    const bool popped = i.operand_size == 2   ? pop_value<u16>(cpu, value)
                        : i.operand_size == 4 ? pop_value<u32>(cpu, value)
                                              : pop_value<u64>(cpu, value);
    if (!popped) return Flow::fault;
    u64 mask = arithmetic_flags | flag_tf | flag_df | flag_nt | flag_ac | flag_id;
    // IOPL is the kernel's alone; in virtual-8086 mode nobody's.
    if (cpu.mode.cpl == 0) mask |= flag_iopl;
    if (cpu.mode.cpl <= iopl(cpu.state)) mask |= flag_if;
    if (i.operand_size == 2) mask &= 0xFFFF;
    const u64 old = cpu.state.rflags;
    write_rflags(cpu.state, (cpu.rflags() & ~(mask | flag_rf)) | (value & mask));
    const u64 changed = old ^ cpu.state.rflags;
    if (changed & flag_ac) cpu.update_paging_context();
    if (changed & (flag_tf | flag_rf)) cpu.update_slow_flag();
    return changed & (flag_if | flag_tf | flag_ac | flag_rf) ? Flow::exit : Flow::next;
}

Flow cli(Cpu& cpu, const Instruction&) {
    switch (interrupt_flag_of(cpu)) {
    case InterruptFlag::real: cpu.state.rflags &= ~flag_if; return Flow::next;
    case InterruptFlag::virtual_one: cpu.state.rflags &= ~flag_vif; return Flow::next;
    case InterruptFlag::forbidden: break;
    }
    return cpu.general_protection();
}

Flow sti(Cpu& cpu, const Instruction&) {
    CpuState& s = cpu.state;
    switch (interrupt_flag_of(cpu)) {
    case InterruptFlag::real:
        if (s.rflags & flag_if) return Flow::next;
        s.rflags |= flag_if;
        cpu.begin_shadow(false);
        return Flow::exit;
    case InterruptFlag::virtual_one:
        if (s.rflags & flag_vip) break;
        s.rflags |= flag_vif;
        return Flow::next;
    case InterruptFlag::forbidden: break;
    }
    return cpu.general_protection();
}

template <bool set> Flow change_ac(Cpu& cpu, const Instruction&) {
    if (!privileged(cpu)) return cpu.undefined_opcode();
    const u64 old = cpu.state.rflags;
    cpu.state.rflags = set ? old | flag_ac : old & ~flag_ac;
    if (old != cpu.state.rflags) cpu.update_paging_context();
    return Flow::next;
}

} // namespace

Handler select_pushf(const Form&) { return threaded<pushf>; }
Handler select_pushfd(const Form&) { return threaded<pushf>; }
Handler select_pushfq(const Form&) { return threaded<pushf>; }
Handler select_popf(const Form&) { return threaded<popf>; }
Handler select_popfd(const Form&) { return threaded<popf>; }
Handler select_popfq(const Form&) { return threaded<popf>; }
Handler select_cli(const Form&) { return threaded<cli>; }
Handler select_sti(const Form&) { return threaded<sti>; }
Handler select_clac(const Form&) { return threaded<change_ac<false>>; }
Handler select_stac(const Form&) { return threaded<change_ac<true>>; }

} // namespace calque::cpu
