// Saving and loading of the processor's state.
#include "cpu/state.h"

#include "cpu/cpu.h"
#include "cpu/system/control_registers.h"
#include "mmu/walker.h"

namespace calque::cpu {

void SegmentRegister::serialize(Archive& archive, std::string_view name) {
    archive.section(name, 1, [&](u32) {
        archive.field("selector", selector);
        archive.field("rights", rights);
        archive.field("limit", limit);
        archive.field("base", base);
    });
}

namespace {

void serialize_table(Archive& archive, std::string_view name, DescriptorTable& table) {
    archive.section(name, 1, [&](u32) {
        archive.field("base", table.base);
        archive.field("limit", table.limit);
    });
}

void serialize_registers(Archive& a, CpuState& s) {
    std::array<u64, 16> gpr;
    std::copy_n(s.gpr.begin(), gpr.size(), gpr.begin());
    u64 flags = read_rflags(s);
    a.field("gpr", gpr);
    a.field("rip", s.rip());
    a.field("rflags", flags);
    if (a.loading()) {
        std::copy(gpr.begin(), gpr.end(), s.gpr.begin());
        s.gpr[zero_slot] = 0;
        write_rflags(s, flags);
    }
}

void serialize_system(Archive& a, CpuState& s) {
    constexpr std::string_view names[] = {"es", "cs", "ss", "ds", "fs", "gs", "", "", "ldtr", "tr"};
    for (unsigned n = 0; n < s.segment.size(); ++n)
        if (!names[n].empty()) s.segment[n].serialize(a, names[n]);
    serialize_table(a, "gdtr", s.gdtr);
    serialize_table(a, "idtr", s.idtr);
    a.field("cr0", s.cr0);
    a.field("cr2", s.cr2);
    a.field("cr3", s.cr3);
    a.field("cr4", s.cr4);
    a.field("pdpte", s.pdpte);
    a.field("dr", s.dr);
    a.field("xcr0", s.xcr0);
    a.field("pkru", s.pkru);
}

void serialize_msrs(Archive& a, CpuState& s) {
    a.field("efer", s.efer);
    a.field("star", s.star);
    a.field("lstar", s.lstar);
    a.field("cstar", s.cstar);
    a.field("fmask", s.fmask);
    a.field("kernel_gs_base", s.kernel_gs_base);
    a.field("sysenter_cs", s.sysenter_cs);
    a.field("sysenter_esp", s.sysenter_esp);
    a.field("sysenter_eip", s.sysenter_eip);
    a.field("tsc_offset", s.tsc_offset);
    a.field("tsc_adjust", s.tsc_adjust);
    a.field("tsc_aux", s.tsc_aux);
    a.field("pat", s.pat);
    a.field("misc_enable", s.misc_enable);
    a.field("debugctl", s.debugctl);
    a.field("feature_control", s.feature_control);
    a.field("smbase", s.smbase);
    a.field("mtrr_def_type", s.mtrr_def_type);
    a.field("mtrr_fixed", s.mtrr_fixed);
    a.field("mtrr_variable", s.mtrr_variable);
    a.field("mca", s.mca);
}

void serialize_fpu(Archive& a, CpuState& s) {
    X87State& x = s.x87;
    for (X87Register& r : x.reg) {
        a.field("significand", r.significand);
        a.field("sign_exponent", r.sign_exponent);
    }
    a.field("control", x.control);
    a.field("status", x.status);
    a.field("valid", x.valid);
    a.field("opcode", x.opcode);
    a.field("instruction_pointer", x.instruction_pointer);
    a.field("data_pointer", x.data_pointer);
    a.field("instruction_selector", x.instruction_selector);
    a.field("data_selector", x.data_selector);
    a.field("ferr", x.ferr);
    for (VectorRegister& v : s.vector)
        a.elements("vector", std::span<u64>(v.q));
    a.field("mxcsr", s.mxcsr);
}

void serialize_activity(Archive& a, CpuState& s) {
    a.field("activity", s.activity);
    a.field("interrupt_shadow", s.interrupt_shadow);
    a.field("debug_shadow", s.debug_shadow);
    a.field("nmi_blocked", s.nmi_blocked);
    a.field("in_smm", s.in_smm);
    a.field("pending_debug", s.pending_debug);
}

// What no processor can be in, whatever its guest did: an archive that says so is damaged or forged.
std::string_view impossible(const CpuState& s) {
    if ((s.cr0 & cr0_pg) && !(s.cr0 & cr0_pe)) return "paging is on in real mode";
    const bool lma = (s.efer & efer_lme) && (s.cr0 & cr0_pg);
    if (lma != ((s.efer & efer_lma) != 0)) return "EFER.LMA does not follow from EFER.LME and CR0.PG";
    if (lma && !(s.cr4 & cr4_pae)) return "long mode without PAE";
    if (lma && (s.rflags & flag_vm)) return "virtual-8086 mode within long mode";
    if (s.activity > Activity::shutdown) return "the activity is not one of four";
    if (s.mxcsr >> 16) return "MXCSR has reserved bits set";
    if (s.cr0 >> 32 || s.dr[6] >> 32 || s.dr[7] >> 32 || s.smbase >> 32) return "a 32-bit register has more bits";
    if (s.cr3 >> mmu::physical_address_bits) return "CR3 is beyond the physical address space";
    if (!(s.xcr0 & 1) || (s.xcr0 & ~(xcr0_x87 | xcr0_sse | xcr0_avx | xcr0_pkru))) return "XCR0 has reserved bits set";
    if ((s.xcr0 & xcr0_avx) && !(s.xcr0 & xcr0_sse)) return "XCR0 has AVX without SSE";
    if (s.x87.opcode >> 11) return "the x87 opcode has more than 11 bits";
    return {};
}

} // namespace

void CpuState::serialize(Archive& archive) {
    archive.section("state", 1, [&](u32) {
        serialize_registers(archive, *this);
        serialize_system(archive, *this);
        serialize_msrs(archive, *this);
        serialize_fpu(archive, *this);
        serialize_activity(archive, *this);
        if (archive.loading() && archive.ok())
            if (const std::string_view why = impossible(*this); !why.empty()) archive.fail(why);
    });
}

void Cpu::serialize(Archive& archive) {
    archive.section(fmt::format("cpu{}", index), 1, [&](u32) {
        CpuState loaded = state;
        if (!archive.loading() && exit_.flow == Flow::again) loaded.rflags |= flag_rf;
        loaded.serialize(archive);
        constexpr u32 saved_events = event_interrupt | event_nmi | event_smi | event_init | event_sipi;
        move_event(event_interrupt_aside, event_interrupt);
        u32 pending = events.load(std::memory_order_acquire) & saved_events;
        u8 vector = sipi_vector.load(std::memory_order_acquire);
        archive.field("events", pending);
        archive.field("sipi_vector", vector);
        archive.field("instructions", instructions);
        if (!archive.loading() || !archive.ok()) return;
        if (pending & ~saved_events) return archive.fail("an event that is not saved");
        state = loaded;
        exception_.reset();
        exit_.flow = Flow::exit;
        shadow_is_new_ = resume_flag_is_new_ = single_step_off_ = false;
        events.fetch_and(~(saved_events | event_interrupt_aside), std::memory_order_acq_rel);
        request(pending | event_check);
        sipi_vector.store(vector, std::memory_order_release);
        mmu.flush_all(true);
        update_mode();
    });
}

} // namespace calque::cpu
