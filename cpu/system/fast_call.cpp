// SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS and the FS/GS base instructions (SDM volume 3, 5.8.7 and 5.8.8).
#include "cpu/system/canonical.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

// Flat segments with everything fixed, as these instructions load them: nothing is read from the tables.
constexpr u16 rights_code = 0x809B;  // Present code, readable, accessed, G.
constexpr u16 rights_stack = 0xC093; // Present data, writable, accessed, G, B.
constexpr u16 code_size64 = 0x2000, code_size32 = 0x4000;

SegmentRegister flat_code(u16 selector, u8 dpl, u16 size) {
    return {selector, static_cast<u16>(rights_code | dpl << 5 | size), 0xFFFFFFFF, 0};
}
SegmentRegister flat_stack_segment(u16 selector, u8 dpl) {
    return {selector, static_cast<u16>(rights_stack | dpl << 5), 0xFFFFFFFF, 0};
}

void load_system_segments(CpuState& s, u16 code_size) {
    const u16 selector = static_cast<u16>(s.star >> 32) & 0xFFFC;
    s.segment[cs] = flat_code(selector, 0, code_size);
    s.segment[ss] = flat_stack_segment(static_cast<u16>(selector + 8), 0);
}
void load_program_segments(CpuState& s, bool wide) {
    const u16 base = static_cast<u16>(s.star >> 48);
    const u16 code = static_cast<u16>((wide ? base + 16 : base) | 3);
    s.segment[cs] = flat_code(code, 3, wide ? code_size64 : code_size32);
    s.segment[ss] = flat_stack_segment(static_cast<u16>((base + 8) | 3), 3);
}

Flow syscall(Cpu& cpu, const Instruction&) {
    CpuState& s = cpu.state;
    // Intel's has SYSCALL in 64-bit mode only; AMD's in every mode.
    if (!(s.efer & efer_sce) || (!cpu.mode.mode64 && (!vendor_is_amd(cpu) || !cpu.mode.protected_mode)))
        return cpu.undefined_opcode();
    s.gpr[rcx] = cpu.mode.long_mode ? s.rip() : static_cast<u32>(s.rip());
    u64 flags = cpu.rflags() & ~flag_rf;
    if (cpu.mode.long_mode) {
        s.gpr[11] = flags;
        s.rip() = cpu.mode.mode64 ? s.lstar : s.cstar;
        flags &= ~s.fmask;
    } else {
        s.rip() = static_cast<u32>(s.star);
        flags &= ~(flag_vm | flag_if);
    }
    write_rflags(s, flags);
    load_system_segments(s, cpu.mode.long_mode ? code_size64 : code_size32);
    cpu.update_mode();
    // Whether a single-step trap follows is decided by the new TF.
    if (!(flags & flag_tf)) cpu.suppress_single_step();
    return Flow::exit;
}

Flow sysret(Cpu& cpu, const Instruction& i) {
    CpuState& s = cpu.state;
    if (!(s.efer & efer_sce) || (!cpu.mode.mode64 && (!vendor_is_amd(cpu) || !cpu.mode.protected_mode)))
        return cpu.undefined_opcode();
    if (!privileged(cpu)) return cpu.general_protection();
    const bool wide = i.operand_size == 8;
    if (wide && !is_canonical(s.gpr[rcx])) return cpu.general_protection();
    constexpr u64 loaded = 0x3C7FD7;
    if (cpu.mode.long_mode)
        write_rflags(s, s.gpr[11] & loaded);
    else
        s.rflags |= flag_if;
    s.rip() = wide ? s.gpr[rcx] : static_cast<u32>(s.gpr[rcx]);
    load_program_segments(s, wide);
    cpu.update_mode();
    if (s.rflags & flag_rf) cpu.keep_resume_flag();
    if (s.rflags & flag_tf) {
        // The trap comes at once, before the first instruction of the program.
        cpu.raise_debug(u64{1} << 14);
        return Flow::trap;
    }
    return Flow::exit;
}

Flow sysenter(Cpu& cpu, const Instruction&) {
    CpuState& s = cpu.state;
    if (cpu.mode.long_mode && vendor_is_amd(cpu)) return cpu.undefined_opcode();
    if (!cpu.mode.protected_mode || !(s.sysenter_cs & 0xFFFC)) return cpu.general_protection();
    const u16 selector = static_cast<u16>(s.sysenter_cs & 0xFFFC);
    const bool wide = cpu.mode.long_mode;
    s.rflags &= ~(flag_vm | flag_if | flag_rf);
    s.segment[cs] = flat_code(selector, 0, wide ? code_size64 : code_size32);
    s.segment[ss] = flat_stack_segment(static_cast<u16>(selector + 8), 0);
    s.gpr[rsp] = wide ? s.sysenter_esp : static_cast<u32>(s.sysenter_esp);
    s.rip() = wide ? s.sysenter_eip : static_cast<u32>(s.sysenter_eip);
    cpu.update_mode();
    return Flow::exit;
}

Flow sysexit(Cpu& cpu, const Instruction& i) {
    CpuState& s = cpu.state;
    if (cpu.mode.long_mode && vendor_is_amd(cpu)) return cpu.undefined_opcode();
    if (!cpu.mode.protected_mode || !privileged(cpu) || !(s.sysenter_cs & 0xFFFC)) return cpu.general_protection();
    const bool wide = cpu.mode.mode64 && i.operand_size == 8;
    if (wide && (!is_canonical(s.gpr[rcx]) || !is_canonical(s.gpr[rdx]))) return cpu.general_protection();
    const u16 selector = static_cast<u16>((s.sysenter_cs + (wide ? 32 : 16)) | 3);
    s.rip() = wide ? s.gpr[rdx] : static_cast<u32>(s.gpr[rdx]);
    s.gpr[rsp] = wide ? s.gpr[rcx] : static_cast<u32>(s.gpr[rcx]);
    s.segment[cs] = flat_code(selector, 3, wide ? code_size64 : code_size32);
    s.segment[ss] = flat_stack_segment(static_cast<u16>(selector + 8), 3);
    cpu.update_mode();
    return Flow::exit;
}

Flow swapgs(Cpu& cpu, const Instruction&) {
    if (!cpu.mode.mode64) return cpu.undefined_opcode();
    if (!privileged(cpu)) return cpu.general_protection();
    std::swap(cpu.state.segment[gs].base, cpu.state.kernel_gs_base);
    return Flow::next;
}

template <unsigned segment> Flow read_base(Cpu& cpu, const Instruction& i) {
    if (!cpu.mode.mode64 || !(cpu.state.cr4 & cr4_fsgsbase)) return cpu.undefined_opcode();
    set_gpr_sized(cpu, i.dest, cpu.state.segment[segment].base, i.operand_size);
    return Flow::next;
}
template <unsigned segment> Flow write_base(Cpu& cpu, const Instruction& i) {
    if (!cpu.mode.mode64 || !(cpu.state.cr4 & cr4_fsgsbase)) return cpu.undefined_opcode();
    u64 value = cpu.state.gpr[i.dest];
    if (i.operand_size != 8) value = static_cast<u32>(value);
    if (!is_canonical(value)) return cpu.general_protection();
    cpu.state.segment[segment].base = value;
    return Flow::next;
}

} // namespace

// Of what update_mode() looks at, only the CPL and the width of the stack change.
void Cpu::finish_system_call() {
    load_system_segments(state, code_size64);
    mode.cpl = 0;
    mode.stack32 = true;
    mmu.set_privilege(0, false, false);
}
void Cpu::finish_system_return() {
    load_program_segments(state, true);
    mode.cpl = 3;
    mode.stack32 = true;
    mmu.set_privilege(3, false, false);
}
void Cpu::finish_access_change() { mmu.set_privilege(0, state.rflags & flag_ac, false); }

Handler select_syscall(const Form&) { return threaded<syscall>; }
Handler select_sysret(const Form&) { return threaded<sysret>; }
Handler select_sysenter(const Form&) { return threaded<sysenter>; }
Handler select_sysexit(const Form&) { return threaded<sysexit>; }
Handler select_swapgs(const Form&) { return threaded<swapgs>; }
Handler select_rdfsbase(const Form&) { return threaded<read_base<fs>>; }
Handler select_rdgsbase(const Form&) { return threaded<read_base<gs>>; }
Handler select_wrfsbase(const Form&) { return threaded<write_base<fs>>; }
Handler select_wrgsbase(const Form&) { return threaded<write_base<gs>>; }

} // namespace calque::cpu
