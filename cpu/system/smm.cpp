// System management mode: SMI and RSM, with the 64-bit state save map (APM volume 2, table 10-1), which is the one
// that firmware for virtual machines expects.
#include "cpu/system/canonical.h"
#include "cpu/system/debug_bits.h"
#include "cpu/system/descriptor.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"
#include "mmu/walker.h"

namespace calque::cpu {

namespace {

// Offsets from SMBASE.
constexpr u64 entry_point = 0x8000, save_area = 0xFE00, save_area_size = 0x200;
namespace at {
constexpr u32 segments = 0xFE00, gdtr = 0xFE60, ldtr_ = 0xFE70, idtr = 0xFE80, tr_ = 0xFE90, io_restart = 0xFEC8,
              auto_halt = 0xFEC9, nmi_mask = 0xFECA, efer = 0xFED0, revision = 0xFEFC, smbase = 0xFF00, cr4 = 0xFF48,
              cr3 = 0xFF50, cr0 = 0xFF58, dr7 = 0xFF60, dr6 = 0xFF68, rflags = 0xFF70, rip = 0xFF78, r15 = 0xFF80;
}
// 64-bit format, SMBASE relocation. I/O instruction restart (bit 16) is not offered.
constexpr u32 save_revision = 0x20064;

// The save area, in its own bytes: SMRAM is reached by physical addresses.
class SaveArea {
  public:
    explicit SaveArea(Cpu& cpu) : map_(cpu.mmu.physical()), base_(cpu.state.smbase + save_area) {}
    void load() { map_.read(PhysicalAddress(base_), bytes_); }
    void store() { map_.write(PhysicalAddress(base_), bytes_); }

    template <class T> T get(u32 offset) const {
        u64 value = 0;
        for (unsigned n = 0; n < sizeof(T); ++n)
            value |= u64{bytes_[offset - save_area + n]} << (8 * n);
        return static_cast<T>(value);
    }
    template <class T> void put(u32 offset, T value) {
        for (unsigned n = 0; n < sizeof(T); ++n)
            bytes_[offset - save_area + n] = static_cast<u8>(u64{value} >> (8 * n));
    }
    void put_segment(u32 offset, const SegmentRegister& s) {
        put<u16>(offset, s.selector);
        put<u16>(offset + 2, static_cast<u16>((s.rights & 0xFF) | (s.rights >> 4 & 0xF00)));
        put<u32>(offset + 4, s.limit);
        put<u64>(offset + 8, s.base);
    }
    SegmentRegister get_segment(u32 offset) const {
        const u16 rights = get<u16>(offset + 2);
        return {get<u16>(offset), static_cast<u16>((rights & 0xFF) | (rights & 0xF00) << 4), get<u32>(offset + 4),
                get<u64>(offset + 8)};
    }
    void put_table(u32 offset, const DescriptorTable& t) {
        put<u32>(offset + 4, t.limit);
        put<u64>(offset + 8, t.base);
    }
    DescriptorTable get_table(u32 offset) const {
        return {get<u64>(offset + 8), static_cast<u16>(get<u32>(offset + 4))};
    }

  private:
    mmu::PhysicalMap& map_;
    u64 base_;
    u8 bytes_[save_area_size] = {};
};

void save_state(const Cpu& cpu, SaveArea& area) {
    const CpuState& s = cpu.state;
    area.load(); // What has no field keeps its bytes.
    for (u32 n = es; n <= gs; ++n)
        area.put_segment(at::segments + n * 16, s.segment[n]);
    area.put_table(at::gdtr, s.gdtr);
    area.put_segment(at::ldtr_, s.segment[ldtr]);
    area.put_table(at::idtr, s.idtr);
    area.put_segment(at::tr_, s.segment[tr]);
    area.put<u8>(at::io_restart, 0);
    area.put<u8>(at::auto_halt, s.activity == Activity::halted);
    area.put<u8>(at::nmi_mask, s.nmi_blocked);
    area.put<u64>(at::efer, s.efer);
    area.put<u32>(at::revision, save_revision);
    area.put<u32>(at::smbase, static_cast<u32>(s.smbase));
    area.put<u64>(at::cr4, s.cr4);
    area.put<u64>(at::cr3, s.cr3);
    area.put<u64>(at::cr0, s.cr0);
    area.put<u64>(at::dr7, s.dr[7]);
    area.put<u64>(at::dr6, s.dr[6]);
    area.put<u64>(at::rflags, cpu.rflags());
    area.put<u64>(at::rip, s.rip());
    for (u32 n = 0; n < 16; ++n)
        area.put<u64>(at::r15 + (15 - n) * 8, s.gpr[n]);
    area.store();
}

// What RSM may not bring back: it shuts the processor down (SDM volume 3, 34.4).
bool loadable(const SaveArea& area) {
    const u64 cr0 = area.get<u64>(at::cr0), cr4 = area.get<u64>(at::cr4), efer = area.get<u64>(at::efer);
    const u64 rip = area.get<u64>(at::rip);
    if (cr0 >> 32 || ((cr0 & cr0_pg) && !(cr0 & cr0_pe)) || ((cr0 & cr0_nw) && !(cr0 & cr0_cd))) return false;
    if (efer & ~(efer_sce | efer_lme | efer_lma | efer_nxe)) return false;
    const bool long_mode = (efer & efer_lme) && (cr0 & cr0_pg);
    if (long_mode && !(cr4 & cr4_pae)) return false;
    if ((cr4 & cr4_pcide) && !long_mode) return false;
    constexpr u64 cr4_defined = 0x771FFF & ~(u64{1} << 12 | u64{1} << 13 | u64{1} << 14);
    if (cr4 & ~cr4_defined) return false;
    if (area.get<u64>(at::cr3) >> mmu::physical_address_bits) return false;
    return is_canonical(rip) && !(area.get<u64>(at::dr7) >> 32) && !(area.get<u64>(at::dr6) >> 32);
}

void load_state(CpuState& s, const SaveArea& area) {
    for (u32 n = es; n <= gs; ++n)
        s.segment[n] = area.get_segment(at::segments + n * 16);
    s.gdtr = area.get_table(at::gdtr);
    s.idtr = area.get_table(at::idtr);
    s.segment[ldtr] = area.get_segment(at::ldtr_);
    s.segment[tr] = area.get_segment(at::tr_);
    s.cr0 = area.get<u64>(at::cr0) | cr0_et;
    s.cr3 = area.get<u64>(at::cr3);
    s.cr4 = area.get<u64>(at::cr4);
    s.efer = area.get<u64>(at::efer) & ~efer_lma;
    if ((s.efer & efer_lme) && (s.cr0 & cr0_pg)) s.efer |= efer_lma;
    s.dr[7] = (area.get<u64>(at::dr7) & dr7_writable) | dr7_ones;
    s.dr[6] = (area.get<u64>(at::dr6) & dr6_writable) | dr6_ones;
    constexpr u64 flags_defined = 0x3F7FD7;
    write_rflags(s, area.get<u64>(at::rflags) & flags_defined);
    s.rip() = area.get<u64>(at::rip);
    for (u32 n = 0; n < 16; ++n)
        s.gpr[n] = area.get<u64>(at::r15 + (15 - n) * 8);
    s.smbase = area.get<u32>(at::smbase);
    s.activity = area.get<u8>(at::auto_halt) & 1 ? Activity::halted : Activity::running;
    s.nmi_blocked = area.get<u8>(at::nmi_mask) & 1;
    s.interrupt_shadow = s.debug_shadow = false;
    s.pending_debug = 0;
}

} // namespace

void Cpu::enter_smm() {
    log.trace(Channel::mode, "cpu {}: SMI at {:#x}:{:#x}", index, state.segment[cs].selector, state.rip());
    platform.set_smm(true);
    SaveArea area(*this);
    save_state(*this, area);
    // SDM volume 3, 34.5.1: flat 4 GiB segments in real mode, with everything that could interrupt held back.
    CpuState& s = state;
    s.in_smm = true;
    s.nmi_blocked = true;
    s.activity = Activity::running;
    s.interrupt_shadow = s.debug_shadow = false;
    s.pending_debug = 0;
    write_rflags(s, flag_one);
    s.rip() = entry_point;
    s.cr0 &= ~(cr0_pe | cr0_em | cr0_ts | cr0_pg);
    s.cr4 = 0;
    s.efer = 0;
    s.dr[7] = dr7_ones;
    constexpr u16 rights = 0x8093;
    for (unsigned n = es; n <= gs; ++n)
        s.segment[n] = {0, rights, 0xFFFFFFFF, 0};
    s.segment[cs] = {static_cast<u16>(s.smbase >> 4), rights, 0xFFFFFFFF, s.smbase};
    update_mode(); // Flushes where paging ends by it, as Mmu::set_context() does.
}

namespace {

Flow rsm(Cpu& cpu, const Instruction&) {
    if (!cpu.state.in_smm) return cpu.undefined_opcode();
    SaveArea area(cpu);
    area.load();
    cpu.state.in_smm = false;
    cpu.platform.set_smm(false);
    if (!loadable(area)) {
        cpu.log.trace(Channel::mode, "cpu {}: RSM with a state that cannot be; shutdown", cpu.index);
        cpu.state.activity = Activity::shutdown;
        return Flow::exit;
    }
    const u64 before = cpu.state.cr0;
    load_state(cpu.state, area);
    if ((before | cpu.state.cr0) & cr0_pg) cpu.mmu.flush_all(true);
    cpu.update_mode();
    const CpuState& s = cpu.state;
    if ((s.cr0 & cr0_pg) && (s.cr4 & cr4_pae) && !(s.efer & efer_lma)) {
        mmu::PagingContext context = cpu.mmu.context();
        if (!mmu::load_pdptes(cpu.mmu.physical(), context)) cpu.state.activity = Activity::shutdown;
        for (unsigned n = 0; n < 4; ++n)
            cpu.state.pdpte[n] = context.pdpte[n];
        cpu.update_paging_context();
    }
    if (s.rflags & flag_rf) cpu.keep_resume_flag();
    return Flow::exit;
}

} // namespace

Handler select_rsm(const Form&) { return threaded<rsm>; }

} // namespace calque::cpu
