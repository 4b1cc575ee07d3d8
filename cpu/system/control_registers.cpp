// CR0 to CR8 and XCR0 (SDM volume 3, 2.5 and 2.6; 4.1 and 9.8 for the changes of mode).
#include "cpu/system/control_registers.h"

#include "cpu/system/descriptor.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"
#include "mmu/walker.h"

namespace calque::cpu {

namespace {

constexpr u64 cr0_defined =
    cr0_pe | cr0_mp | cr0_em | cr0_ts | cr0_et | cr0_ne | cr0_wp | cr0_am | cr0_nw | cr0_cd | cr0_pg;
constexpr u64 cr3_keep = u64{1} << 63;
constexpr u64 pcid_mask = 0xFFF;

// Loads the PDPTEs of PAE paging. #GP(0) when one has reserved bits set; nothing has changed then.
bool load_pae_pointers(Cpu& cpu, u64 cr3) {
    mmu::PagingContext context = cpu.mmu.context();
    context.cr3 = cr3;
    if (!mmu::load_pdptes(cpu.mmu.physical(), context)) return fail(cpu, Vector::general_protection, 0);
    for (unsigned n = 0; n < 4; ++n)
        cpu.state.pdpte[n] = context.pdpte[n];
    return true;
}

// Turning paging on with EFER.LME set is what enters IA-32e mode.
bool check_long_mode_entry(Cpu& cpu, u64 value) {
    const CpuState& s = cpu.state;
    const bool turns_on = (value & cr0_pg) && !(s.cr0 & cr0_pg);
    if (!turns_on || !(s.efer & efer_lme)) return true;
    const u8 task = s.segment[tr].type();
    const bool task16 = task == type_tss16 || task == type_tss16_busy;
    if (!(s.cr4 & cr4_pae) || s.segment[cs].long_mode() || task16) return fail(cpu, Vector::general_protection, 0);
    return true;
}

Flow write_cr0(Cpu& cpu, u64 value) {
    CpuState& s = cpu.state;
    if (value >> 32) return cpu.general_protection();
    value = (value & cr0_defined) | cr0_et;
    const bool paging = value & cr0_pg;
    if (paging && !(value & cr0_pe)) return cpu.general_protection();
    if ((value & cr0_nw) && !(value & cr0_cd)) return cpu.general_protection();
    if (!paging && (cpu.mode.mode64 || (s.cr4 & cr4_pcide))) return cpu.general_protection();
    if (!check_long_mode_entry(cpu, value)) return Flow::fault;
    const u64 changed = value ^ s.cr0;
    // Without paging there is nothing to flush: firmware goes from real to protected mode and back at each of its
    // calls.
    const bool paged = (value | s.cr0) & cr0_pg;
    const bool pae = paging && (s.cr4 & cr4_pae) && !(s.efer & efer_lme);
    if (pae && (changed & (cr0_pg | cr0_cd | cr0_nw)) && !load_pae_pointers(cpu, s.cr3)) return Flow::fault;

    s.cr0 = value;
    if (paging && (s.efer & efer_lme))
        s.efer |= efer_lma;
    else if (!paging)
        s.efer &= ~efer_lma;
    if (changed & (cr0_pe | cr0_pg | cr0_wp)) {
        cpu.log.trace(Channel::mode, "cpu {}: cr0 {:#x} at {:#x}", cpu.index, value, s.rip());
        if (paged) cpu.mmu.flush_all(true);
    }
    cpu.update_mode();
    return Flow::exit;
}

Flow write_cr3(Cpu& cpu, u64 value) {
    CpuState& s = cpu.state;
    bool keep = false;
    if (cpu.mode.long_mode) {
        if (s.cr4 & cr4_pcide) {
            keep = value & cr3_keep;
            value &= ~cr3_keep;
        }
        if (value >> mmu::physical_address_bits) return cpu.general_protection();
    } else {
        value = static_cast<u32>(value);
        const bool pae = (s.cr0 & cr0_pg) && (s.cr4 & cr4_pae);
        if (pae && !load_pae_pointers(cpu, value)) return Flow::fault;
    }
    s.cr3 = value;
    mmu::PagingContext context = cpu.mmu.context();
    context.cr3 = value;
    for (unsigned n = 0; n < 4; ++n)
        context.pdpte[n] = s.pdpte[n];
    cpu.mmu.load_cr3(context, keep);
    return Flow::jump;
}

u64 cr4_supported(const FeatureSet& f) {
    const auto when = [&](Feature feature, u64 bits) { return f.has(feature) ? bits : 0; };
    using enum Feature;
    return cr4_pce | when(vme, cr4_vme | cr4_pvi) | when(tsc, cr4_tsd) | when(de, cr4_de) | when(pse, cr4_pse)
           | when(pae, cr4_pae) | when(mce, cr4_mce) | when(pge, cr4_pge) | when(fxsr, cr4_osfxsr)
           | when(sse, cr4_osxmmexcpt) | when(umip, cr4_umip) | when(fsgsbase, cr4_fsgsbase) | when(pcid, cr4_pcide)
           | when(xsave, cr4_osxsave) | when(smep, cr4_smep) | when(smap, cr4_smap) | when(pku, cr4_pke);
}

Flow write_cr4(Cpu& cpu, u64 value) {
    CpuState& s = cpu.state;
    if (value & ~cr4_supported(cpu.model.features)) return cpu.general_protection();
    const u64 changed = value ^ s.cr4;
    if (cpu.mode.long_mode && !(value & cr4_pae)) return cpu.general_protection();
    if ((changed & value & cr4_pcide) && (!cpu.mode.long_mode || (s.cr3 & pcid_mask))) return cpu.general_protection();
    const bool pae = (s.cr0 & cr0_pg) && (value & cr4_pae) && !cpu.mode.long_mode;
    if (pae && (changed & (cr4_pae | cr4_pge | cr4_pse | cr4_smep)) && !load_pae_pointers(cpu, s.cr3))
        return Flow::fault;
    s.cr4 = value;
    if (changed & (cr4_pse | cr4_pae | cr4_pge | cr4_pcide | cr4_smep | cr4_smap | cr4_pke)) {
        cpu.log.trace(Channel::mode, "cpu {}: cr4 {:#x} at {:#x}", cpu.index, value, s.rip());
        cpu.mmu.flush_all(true);
    }
    cpu.update_mode();
    return Flow::exit;
}

} // namespace

u64 xcr0_supported(const FeatureSet& features) {
    return 1 | (features.has(Feature::sse) ? xcr0_sse : 0) | (features.has(Feature::avx) ? xcr0_avx : 0)
           | (features.has(Feature::pku) ? xcr0_pkru : 0);
}

Flow Cpu::write_control(unsigned number, u64 value) {
    switch (number) {
    case 0: return write_cr0(*this, value);
    case 2: state.cr2 = value; return Flow::next;
    case 3: return write_cr3(*this, value);
    case 4: return write_cr4(*this, value);
    case 8:
        if (value > 15) return general_protection();
        platform.set_task_priority(static_cast<u8>(value));
        return Flow::exit;
    default: return undefined_opcode();
    }
}

namespace {

// Outside 64-bit mode the operands are 32 bits.
Flow mov_to_control(Cpu& cpu, const Instruction& i) {
    if (!privileged(cpu)) return cpu.general_protection();
    const u64 value = cpu.state.gpr[i.source];
    return cpu.write_control(i.dest, cpu.mode.mode64 ? value : static_cast<u32>(value));
}
Flow mov_from_control(Cpu& cpu, const Instruction& i) {
    if (!privileged(cpu)) return cpu.general_protection();
    const CpuState& s = cpu.state;
    u64 value = 0;
    switch (i.source) {
    case 0: value = s.cr0; break;
    case 2: value = s.cr2; break;
    case 3: value = s.cr3; break;
    case 4: value = s.cr4; break;
    case 8: value = cpu.platform.task_priority(); break;
    default: return cpu.undefined_opcode();
    }
    cpu.state.gpr[i.dest] = cpu.mode.mode64 ? value : static_cast<u32>(value);
    return Flow::next;
}

Flow clts(Cpu& cpu, const Instruction&) {
    if (!privileged(cpu)) return cpu.general_protection();
    cpu.state.cr0 &= ~cr0_ts;
    cpu.update_mode();
    return Flow::next;
}

// SMSW and LMSW: CR0's low word. LMSW sets PE but never clears it.
template <bool memory> Flow smsw(Cpu& cpu, const Instruction& i) {
    if ((cpu.state.cr4 & cr4_umip) && cpu.mode.cpl > 0) return cpu.general_protection();
    if constexpr (memory) {
        if (!cpu.write_operand(i, static_cast<u16>(cpu.state.cr0))) return Flow::fault;
    } else {
        set_gpr_sized(cpu, i.dest, cpu.state.cr0, i.operand_size);
    }
    return Flow::next;
}
template <bool memory> Flow lmsw(Cpu& cpu, const Instruction& i) {
    if (!privileged(cpu)) return cpu.general_protection();
    u16 value = cpu.gpr<u16>(i.dest);
    if constexpr (memory) {
        if (!cpu.read_operand(i, value)) return Flow::fault;
    }
    constexpr u64 loaded = cr0_pe | cr0_mp | cr0_em | cr0_ts;
    const u64 kept = cpu.state.cr0 & (~loaded | cr0_pe);
    return cpu.write_control(0, kept | (value & loaded));
}

Flow xgetbv(Cpu& cpu, const Instruction&) {
    if (!(cpu.state.cr4 & cr4_osxsave)) return cpu.undefined_opcode();
    u64 value = cpu.state.xcr0;
    const u32 which = cpu.gpr<u32>(rcx);
    if (which == 1 && cpu.model.features.has(Feature::xgetbv1))
        value &= components_in_use(cpu.state);
    else if (which != 0)
        return cpu.general_protection();
    cpu.set_gpr<u32>(rax, static_cast<u32>(value));
    cpu.set_gpr<u32>(rdx, static_cast<u32>(value >> 32));
    return Flow::next;
}
Flow xsetbv(Cpu& cpu, const Instruction&) {
    if (!(cpu.state.cr4 & cr4_osxsave)) return cpu.undefined_opcode();
    if (!privileged(cpu) || cpu.gpr<u32>(rcx) != 0) return cpu.general_protection();
    const u64 value = u64{cpu.gpr<u32>(rdx)} << 32 | cpu.gpr<u32>(rax);
    if ((value & ~xcr0_supported(cpu.model.features)) || !(value & 1)) return cpu.general_protection();
    if ((value & xcr0_avx) && !(value & xcr0_sse)) return cpu.general_protection();
    cpu.state.xcr0 = value;
    cpu.update_mode();
    return Flow::exit;
}

} // namespace

// Which state components are not in their initial configuration (XINUSE; SDM volume 1, 13.6).
u64 components_in_use(const CpuState& s) {
    u64 in_use = 0;
    bool x87 = s.x87.control != 0x37F || s.x87.status || s.x87.valid || s.x87.opcode || s.x87.instruction_pointer
               || s.x87.data_pointer || s.x87.instruction_selector || s.x87.data_selector;
    for (const X87Register& r : s.x87.reg)
        x87 = x87 || r.significand || r.sign_exponent;
    in_use |= x87 ? 1 : 0;
    for (const VectorRegister& v : s.vector) {
        if (v.q[0] | v.q[1]) in_use |= xcr0_sse;
        if (v.q[2] | v.q[3]) in_use |= xcr0_avx;
    }
    if (s.mxcsr != 0x1F80) in_use |= xcr0_sse;
    if (s.pkru) in_use |= xcr0_pkru;
    return in_use;
}

Handler select_mov_control(const Form& f) {
    return f.is(0, OperandKind::control) ? threaded<mov_to_control> : threaded<mov_from_control>;
}
Handler select_clts(const Form&) { return threaded<clts>; }
Handler select_smsw(const Form& f) { return f.memory(0) ? threaded<smsw<true>> : threaded<smsw<false>>; }
Handler select_lmsw(const Form& f) { return f.memory(0) ? threaded<lmsw<true>> : threaded<lmsw<false>>; }
Handler select_xgetbv(const Form&) { return threaded<xgetbv>; }
Handler select_xsetbv(const Form&) { return threaded<xsetbv>; }

} // namespace calque::cpu
