// RDMSR and WRMSR (SDM volume 4; volume 3, 11.11 for MTRRs, 15.3 for machine check, 17.17 for the time stamp).
#include "base/bits.h"
#include "cpu/system/canonical.h"
#include "cpu/system/debug_bits.h"
#include "cpu/system/descriptor.h"
#include "cpu/system/handlers.h"
#include "cpu/system/msr_index.h"
#include "cpu/system/rows.h"
#include "mmu/walker.h"

#include <algorithm>

namespace calque::cpu {

namespace {

// Registers that are a field of the state, with what a value has to be.
enum class Check : u8 { any, canonical, bits32 };
struct PlainMsr {
    u32 index;
    u64 CpuState::*field;
    Check check;
    Feature feature;
};
constexpr PlainMsr plain_msrs[] = {
    {msr::sysenter_cs, &CpuState::sysenter_cs, Check::bits32, Feature::sep},
    {msr::sysenter_esp, &CpuState::sysenter_esp, Check::canonical, Feature::sep},
    {msr::sysenter_eip, &CpuState::sysenter_eip, Check::canonical, Feature::sep},
    {msr::star, &CpuState::star, Check::any, Feature::syscall},
    {msr::lstar, &CpuState::lstar, Check::canonical, Feature::lm},
    {msr::cstar, &CpuState::cstar, Check::canonical, Feature::lm},
    {msr::fmask, &CpuState::fmask, Check::bits32, Feature::syscall},
    {msr::kernel_gs_base, &CpuState::kernel_gs_base, Check::canonical, Feature::lm},
};
const PlainMsr* find_plain(const Cpu& cpu, u32 index) {
    const auto* found =
        std::find_if(std::begin(plain_msrs), std::end(plain_msrs), [&](const PlainMsr& m) { return m.index == index; });
    return found != std::end(plain_msrs) && cpu.model.features.has(found->feature) ? found : nullptr;
}
bool passes(Check check, u64 value) {
    switch (check) {
    case Check::canonical: return is_canonical(value);
    case Check::bits32: return value >> 32 == 0;
    case Check::any: break;
    }
    return true;
}

// What this processor is not vulnerable to, so that guests leave out their mitigations. Translated code does not run on
// the guest's page tables, and none of the buffers that these are about is the guest's.
constexpr u64 arch_capabilities = u64{1} << 0     // RDCL_NO: Meltdown, L1TF.
                                  | u64{1} << 3   // SKIP_L1DFL_VMENTRY.
                                  | u64{1} << 4   // SSB_NO.
                                  | u64{1} << 5   // MDS_NO.
                                  | u64{1} << 6   // IF_PSCHANGE_MC_NO.
                                  | u64{1} << 8   // TAA_NO.
                                  | u64{1} << 13  // SBDR_SSDP_NO.
                                  | u64{1} << 14  // FBSDP_NO.
                                  | u64{1} << 15  // PSDP_NO.
                                  | u64{1} << 20  // BHI_NO.
                                  | u64{1} << 24  // PBRSB_NO.
                                  | u64{1} << 26  // GDS_NO.
                                  | u64{1} << 27  // RFDS_NO.
                                  | u64{1} << 62; // ITS_NO.

constexpr u64 microcode_revision = u64{1} << 32;
constexpr unsigned variable_mtrrs = 8;
constexpr u64 mtrr_capabilities = variable_mtrrs | 1u << 8 | 1u << 10; // Fixed ranges, write-combining.
constexpr u64 mcg_capabilities = 1 | 1u << 8;                          // One bank, and MCG_CTL.
// MISC_ENABLE: fast strings; branch tracing and PEBS are not available.
constexpr u64 misc_enable_fixed = 1u << 11 | 1u << 12, misc_enable_writable = 1u << 0 | 1u << 18;
enum McaSlot : u8 { slot_mcg_ctl, slot_mcg_status, slot_mc0_ctl, slot_mc0_status, slot_mc0_addr };

bool valid_memory_type(u64 type) { return type == 0 || type == 1 || (type >= 4 && type <= 6); }
bool valid_pat(u64 value) {
    for (unsigned n = 0; n < 8; ++n) {
        const u64 type = bits(value, n * 8, 8);
        if (!valid_memory_type(type) && type != 7) return false;
    }
    return true;
}

// Where a fixed-range MTRR is in the state; null for other indexes.
u64* fixed_mtrr(CpuState& s, u32 index) {
    if (index == msr::mtrr_fix64k_00000) return &s.mtrr_fixed[0];
    if (index == msr::mtrr_fix16k_80000 || index == msr::mtrr_fix16k_a0000)
        return &s.mtrr_fixed[1 + index - msr::mtrr_fix16k_80000];
    if (index - msr::mtrr_fix4k_c0000 < 8) return &s.mtrr_fixed[3 + index - msr::mtrr_fix4k_c0000];
    return nullptr;
}
u64* variable_mtrr(CpuState& s, u32 index) {
    return index - msr::mtrr_physbase0 < variable_mtrrs * 2 ? &s.mtrr_variable[index - msr::mtrr_physbase0] : nullptr;
}
bool valid_variable_mtrr(u32 index, u64 value) {
    if (value >> mmu::physical_address_bits) return false;
    if (index & 1) return !(value & 0x7FF); // Mask: bit 11 is "valid".
    return !(value & 0xF00) && valid_memory_type(value & 0xFF);
}
bool valid_fixed_mtrr(u64 value) {
    for (unsigned n = 0; n < 8; ++n)
        if (!valid_memory_type(bits(value, n * 8, 8))) return false;
    return true;
}
u64* machine_check(CpuState& s, u32 index) {
    switch (index) {
    case msr::mcg_ctl: return &s.mca[slot_mcg_ctl];
    case msr::mcg_status: return &s.mca[slot_mcg_status];
    case msr::mc0_ctl: return &s.mca[slot_mc0_ctl];
    case msr::mc0_status: return &s.mca[slot_mc0_status];
    case msr::mc0_addr: return &s.mca[slot_mc0_addr];
    default: return nullptr;
    }
}

bool of_platform(const Cpu& cpu, u32 index) {
    const FeatureSet& f = cpu.model.features;
    if (index == msr::apic_base) return f.has(Feature::apic);
    if (index == msr::tsc_deadline) return f.has(Feature::tsc_deadline);
    return index >= msr::x2apic_first && index <= msr::x2apic_last && f.has(Feature::x2apic);
}

// Counts it, by number where the number lies in a range that processors use.
bool unknown(Cpu& cpu, u32 index, std::string_view direction) {
    const bool ordinary = index < 0x2000 || (index >= 0xC0000000 && index < 0xC0002000)
                          || (index >= 0xC0010000 && index < 0xC0012000) || (index >= 0x40000000 && index < 0x40001000);
    const std::string number = ordinary ? fmt::format("{:#x}", index) : "other";
    cpu.log.unimplemented(Channel::msr, fmt::format("msr.{}.{}", direction, number));
    return fail(cpu, Vector::general_protection, 0);
}

} // namespace

bool Cpu::read_msr(u32 index, u64& value) {
    const FeatureSet& f = model.features;
    if (of_platform(*this, index)) {
        return platform.apic_msr_read(index, value) || fail(*this, Vector::general_protection, 0);
    }
    if (const PlainMsr* plain = find_plain(*this, index)) {
        value = state.*plain->field;
        return true;
    }
    if (f.has(Feature::mtrr)) {
        if (const u64* m = fixed_mtrr(state, index)) return value = *m, true;
        if (const u64* m = variable_mtrr(state, index)) return value = *m, true;
    }
    if (f.has(Feature::mca)) {
        if (const u64* m = machine_check(state, index)) return value = *m, true;
    }
    switch (index) {
    case msr::time_stamp_counter: value = read_tsc(); return true;
    case msr::platform_id: value = 0; return true;
    case msr::feature_control: value = state.feature_control; return true;
    case msr::tsc_adjust:
        if (!f.has(Feature::tsc_adjust)) break;
        value = state.tsc_adjust;
        return true;
    case msr::bios_sign_id: value = microcode_revision; return true;
    case msr::smbase:
        if (!state.in_smm) break;
        value = state.smbase;
        return true;
    case msr::platform_info: value = platform.timestamp_frequency() / 100'000'000 << 8; return true;
    case msr::mtrr_cap:
        if (!f.has(Feature::mtrr)) break;
        value = mtrr_capabilities;
        return true;
    case msr::mtrr_def_type:
        if (!f.has(Feature::mtrr)) break;
        value = state.mtrr_def_type;
        return true;
    case msr::arch_capabilities:
        if (!f.has(Feature::arch_capabilities)) break;
        value = arch_capabilities;
        return true;
    case msr::mcg_cap:
        if (!f.has(Feature::mca)) break;
        value = mcg_capabilities;
        return true;
    case msr::mc0_misc:
        if (!f.has(Feature::mca)) break;
        value = 0;
        return true;
    case msr::misc_enable: value = state.misc_enable | misc_enable_fixed; return true;
    case msr::debugctl: value = state.debugctl; return true;
    case msr::pat: value = state.pat; return true;
    case msr::efer:
        if (!f.has(Feature::nx) && !f.has(Feature::lm)) break;
        value = state.efer;
        return true;
    case msr::fs_base: value = state.segment[fs].base; return true;
    case msr::gs_base: value = state.segment[gs].base; return true;
    case msr::tsc_aux:
        if (!f.has(Feature::rdtscp)) break;
        value = state.tsc_aux;
        return true;
    default: break;
    }
    return unknown(*this, index, "read");
}

namespace {

bool write_efer(Cpu& cpu, u64 value) {
    CpuState& s = cpu.state;
    const FeatureSet& f = cpu.model.features;
    const u64 defined = (f.has(Feature::syscall) ? efer_sce : 0) | (f.has(Feature::lm) ? efer_lme | efer_lma : 0)
                        | (f.has(Feature::nx) ? efer_nxe : 0);
    if (value & ~defined) return false;
    const u64 changed = value ^ s.efer;
    if ((changed & efer_lme) && (s.cr0 & cr0_pg)) return false;
    s.efer = (value & ~efer_lma) | (s.efer & efer_lma); // LMA is read-only.
    if (changed & efer_nxe) cpu.mmu.flush_all(true);
    cpu.log.trace(Channel::mode, "cpu {}: efer {:#x}", cpu.index, s.efer);
    cpu.update_mode();
    return true;
}

bool write_machine_check(u32 index, u64& cell, u64 value) {
    switch (index) {
    case msr::mcg_status:
        if (value & ~u64{7}) return false;
        break;
    // Banks are cleared by writing zero, and their controls switched as a whole.
    case msr::mc0_status:
    case msr::mc0_addr:
        if (value != 0) return false;
        break;
    default: break;
    }
    cell = value;
    return true;
}

// Those that are no plain field. Nothing: there is no such register.
std::optional<bool> write_special(Cpu& cpu, u32 index, u64 value) {
    CpuState& s = cpu.state;
    const FeatureSet& f = cpu.model.features;
    switch (index) {
    case msr::time_stamp_counter: {
        const u64 change = value - cpu.read_tsc();
        s.tsc_offset += change;
        s.tsc_adjust += change;
        cpu.platform.timestamp_changed();
        return true;
    }
    case msr::tsc_adjust:
        if (!f.has(Feature::tsc_adjust)) return std::nullopt;
        s.tsc_offset += value - s.tsc_adjust;
        s.tsc_adjust = value;
        cpu.platform.timestamp_changed();
        return true;
    case msr::feature_control: return false; // Locked.
    case msr::bios_update_trigger:
    case msr::bios_sign_id: return true;
    case msr::mtrr_def_type:
        if (!f.has(Feature::mtrr)) return std::nullopt;
        if ((value & ~u64{0xCFF}) || !valid_memory_type(value & 0xFF)) return false;
        s.mtrr_def_type = value;
        return true;
    case msr::misc_enable: s.misc_enable = value & misc_enable_writable; return true;
    case msr::debugctl:
        if (value & ~(debugctl_lbr | debugctl_btf)) return false;
        if (value & debugctl_lbr) cpu.log.unimplemented(Channel::msr, "msr.debugctl.lbr");
        s.debugctl = value;
        return true;
    case msr::pat:
        if (!valid_pat(value)) return false;
        s.pat = value;
        return true;
    case msr::efer:
        if (!f.has(Feature::nx) && !f.has(Feature::lm)) return std::nullopt;
        return write_efer(cpu, value);
    case msr::fs_base:
    case msr::gs_base:
        if (!is_canonical(value)) return false;
        s.segment[index == msr::fs_base ? fs : gs].base = value;
        return true;
    case msr::tsc_aux:
        if (!f.has(Feature::rdtscp)) return std::nullopt;
        if (value >> 32) return false;
        s.tsc_aux = static_cast<u32>(value);
        return true;
    case msr::mc0_misc:
        if (!f.has(Feature::mca)) return std::nullopt;
        return value == 0;
    case msr::smbase:
    case msr::platform_id:
    case msr::platform_info:
    case msr::mtrr_cap:
    case msr::arch_capabilities:
    case msr::mcg_cap: return false; // Read-only.
    default: return std::nullopt;
    }
}

} // namespace

bool Cpu::write_msr(u32 index, u64 value) {
    const auto checked = [&](bool ok) { return ok || fail(*this, Vector::general_protection, 0); };
    const FeatureSet& f = model.features;
    log.trace(Channel::msr, "cpu {}: wrmsr {:#x} = {:#x}", this->index, index, value);
    if (of_platform(*this, index)) return checked(platform.apic_msr_write(index, value));
    if (const PlainMsr* plain = find_plain(*this, index)) {
        if (!passes(plain->check, value)) return checked(false);
        state.*plain->field = value;
        return true;
    }
    if (f.has(Feature::mtrr)) {
        u64* m = fixed_mtrr(state, index);
        const bool fixed = m;
        if (!m) m = variable_mtrr(state, index);
        if (m) {
            if (!(fixed ? valid_fixed_mtrr(value) : valid_variable_mtrr(index, value))) return checked(false);
            *m = value;
            return true;
        }
    }
    if (f.has(Feature::mca)) {
        if (u64* m = machine_check(state, index)) return checked(write_machine_check(index, *m, value));
    }
    const std::optional<bool> special = write_special(*this, index, value);
    return special ? checked(*special) : unknown(*this, index, "write");
}

namespace {

Flow rdmsr(Cpu& cpu, const Instruction&) {
    if (!privileged(cpu)) return cpu.general_protection();
    u64 value = 0;
    if (!cpu.read_msr(cpu.gpr<u32>(rcx), value)) return Flow::fault;
    cpu.set_gpr<u32>(rax, static_cast<u32>(value));
    cpu.set_gpr<u32>(rdx, static_cast<u32>(value >> 32));
    return Flow::next;
}
Flow wrmsr(Cpu& cpu, const Instruction&) {
    if (!privileged(cpu)) return cpu.general_protection();
    const u64 value = u64{cpu.gpr<u32>(rdx)} << 32 | cpu.gpr<u32>(rax);
    return cpu.write_msr(cpu.gpr<u32>(rcx), value) ? Flow::exit : Flow::fault;
}

} // namespace

Handler select_rdmsr(const Form&) { return threaded<rdmsr>; }
Handler select_wrmsr(const Form&) { return threaded<wrmsr>; }

} // namespace calque::cpu
