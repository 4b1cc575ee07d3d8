// LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR (SDM volume 2).
#include "cpu/system/canonical.h"
#include "cpu/system/descriptor.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

bool blocked_by_umip(const Cpu& cpu) { return (cpu.state.cr4 & cr4_umip) && cpu.mode.cpl > 0; }
bool protected_only(const Cpu& cpu) { return !cpu.mode.protected_mode || cpu.mode.vm86; }

template <DescriptorTable CpuState::*table> Flow store_table(Cpu& cpu, const Instruction& i) {
    if (blocked_by_umip(cpu)) return cpu.general_protection();
    const DescriptorTable t = cpu.state.*table;
    const u64 at = effective_address(cpu.state, i), mask = address_mask(i.address_bytes());
    const unsigned segment = i.segment();
    // The base first, then the limit: neither may be written alone.
    LinearAddress whole;
    const u64 size = cpu.mode.mode64 ? 10 : 6;
    if (!cpu.linear(segment, at, size, mmu::Access::write, whole)) return Flow::fault;
    if (!cpu.mmu.probe_write(whole, size)) return cpu.raise_memory_fault(segment);
    const bool ok = cpu.write(segment, at, t.limit)
                    && (cpu.mode.mode64 ? cpu.write(segment, (at + 2) & mask, t.base)
                                        : cpu.write(segment, (at + 2) & mask, static_cast<u32>(t.base)));
    return ok ? Flow::next : Flow::fault;
}

template <DescriptorTable CpuState::*table> Flow load_table(Cpu& cpu, const Instruction& i) {
    if (!privileged(cpu)) return cpu.general_protection();
    const u64 at = effective_address(cpu.state, i), mask = address_mask(i.address_bytes());
    DescriptorTable t;
    if (!cpu.read(i.segment(), at, t.limit)) return Flow::fault;
    if (cpu.mode.mode64) {
        if (!cpu.read(i.segment(), (at + 2) & mask, t.base)) return Flow::fault;
        if (!is_canonical(t.base)) return cpu.general_protection();
    } else {
        u32 base = 0;
        if (!cpu.read(i.segment(), (at + 2) & mask, base)) return Flow::fault;
        t.base = i.operand_size == 2 ? base & 0xFFFFFF : base;
    }
    cpu.state.*table = t;
    return Flow::next;
}

template <unsigned segment, bool memory> Flow store_selector(Cpu& cpu, const Instruction& i) {
    if (protected_only(cpu)) return cpu.undefined_opcode();
    if (blocked_by_umip(cpu)) return cpu.general_protection();
    const u16 selector = cpu.state.segment[segment].selector;
    if constexpr (memory) return cpu.write_operand(i, selector) ? Flow::next : Flow::fault;
    set_gpr_sized(cpu, i.dest, selector, i.operand_size);
    return Flow::next;
}

template <bool memory> bool read_selector(Cpu& cpu, const Instruction& i, u16& selector) {
    if constexpr (memory) return cpu.read_operand(i, selector);
    selector = cpu.gpr<u16>(i.dest);
    return true;
}

// A system descriptor of the GDT, 16 bytes of it in IA-32e mode.
bool read_system_descriptor(Cpu& cpu, u16 selector, Descriptor& d) {
    const u32 error = selector_error(selector, 0);
    if (selector & 4) return fail(cpu, Vector::general_protection, error);
    if (!read_descriptor(cpu, selector, Vector::general_protection, 0, d)) return false;
    if (!cpu.mode.long_mode) return true;
    const Lookup upper = find_upper_half(cpu, d);
    if (upper == Lookup::fault) return false;
    if (upper == Lookup::outside || (d.high >> 40 & 0x1F)) return fail(cpu, Vector::general_protection, error);
    d.high &= 0xFFFFFFFF;
    return true;
}
// The base is the high half's where there is one; it has to be canonical.
bool check_base(Cpu& cpu, const Descriptor& d) {
    return !cpu.mode.long_mode || is_canonical(d.base()) || fail(cpu, Vector::general_protection, 0);
}

template <bool memory> Flow lldt(Cpu& cpu, const Instruction& i) {
    if (protected_only(cpu)) return cpu.undefined_opcode();
    if (!privileged(cpu)) return cpu.general_protection();
    u16 selector = 0;
    if (!read_selector<memory>(cpu, i, selector)) return Flow::fault;
    if (is_null(selector)) {
        cpu.state.segment[ldtr] = {selector, 0, 0, 0};
        return Flow::next;
    }
    Descriptor d;
    const u32 error = selector_error(selector, 0);
    if (!read_system_descriptor(cpu, selector, d)) return Flow::fault;
    if (!d.system() || d.type() != type_ldt) return cpu.general_protection(error);
    if (!d.present()) return cpu.raise(Vector::segment_not_present, error);
    if (!check_base(cpu, d)) return Flow::fault;
    cpu.state.segment[ldtr] = d.segment();
    return Flow::next;
}

template <bool memory> Flow ltr(Cpu& cpu, const Instruction& i) {
    if (protected_only(cpu)) return cpu.undefined_opcode();
    if (!privileged(cpu)) return cpu.general_protection();
    u16 selector = 0;
    if (!read_selector<memory>(cpu, i, selector)) return Flow::fault;
    if (is_null(selector)) return cpu.general_protection();
    Descriptor d;
    const u32 error = selector_error(selector, 0);
    if (!read_system_descriptor(cpu, selector, d)) return Flow::fault;
    const bool available = d.is_tss() && !d.tss_busy() && !(cpu.mode.long_mode && d.type() == type_tss16);
    if (!available) return cpu.general_protection(error);
    if (!d.present()) return cpu.raise(Vector::segment_not_present, error);
    if (!check_base(cpu, d) || !mark_busy(cpu, d, true)) return Flow::fault;
    cpu.state.segment[tr] = d.segment();
    return Flow::next;
}

} // namespace

Handler select_sgdt(const Form& f) { return f.memory(0) ? threaded<store_table<&CpuState::gdtr>> : nullptr; }
Handler select_sidt(const Form& f) { return f.memory(0) ? threaded<store_table<&CpuState::idtr>> : nullptr; }
Handler select_lgdt(const Form& f) { return f.memory(0) ? threaded<load_table<&CpuState::gdtr>> : nullptr; }
Handler select_lidt(const Form& f) { return f.memory(0) ? threaded<load_table<&CpuState::idtr>> : nullptr; }
Handler select_sldt(const Form& f) {
    return f.memory(0) ? threaded<store_selector<ldtr, true>> : threaded<store_selector<ldtr, false>>;
}
Handler select_str(const Form& f) {
    return f.memory(0) ? threaded<store_selector<tr, true>> : threaded<store_selector<tr, false>>;
}
Handler select_lldt(const Form& f) { return f.memory(0) ? threaded<lldt<true>> : threaded<lldt<false>>; }
Handler select_ltr(const Form& f) { return f.memory(0) ? threaded<ltr<true>> : threaded<ltr<false>>; }

} // namespace calque::cpu
