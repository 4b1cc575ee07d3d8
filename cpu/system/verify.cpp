// LAR, LSL, VERR, VERW, ARPL: questions about selectors (SDM volume 3, 5.10).
#include "cpu/system/descriptor.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

bool protected_only(const Cpu& cpu) { return !cpu.mode.protected_mode || cpu.mode.vm86; }

void set_zf(Cpu& cpu, bool zf_value) {
    const u64 others = arithmetic_bits(cpu.state.lazy) & ~flag_zf;
    cpu.state.lazy = lazy_from_bits(others | (zf_value ? flag_zf : 0));
}

// Whether code at this level may know of the segment at all.
bool visible(const Cpu& cpu, const Descriptor& d) {
    if (d.is_code() && d.conforming()) return true;
    return d.dpl() >= cpu.mode.cpl && d.dpl() >= d.rpl();
}

// The selector operand. Memory and register forms of LAR and LSL read 16 bits.
template <bool memory> bool read_selector(Cpu& cpu, const Instruction& i, unsigned reg, u16& selector) {
    if constexpr (memory) return cpu.read_operand(i, selector);
    selector = cpu.gpr<u16>(reg);
    return true;
}

bool lar_accepts(const Cpu& cpu, const Descriptor& d) {
    if (!d.system()) return true;
    const u32 types = cpu.mode.long_mode
                          ? 1u << type_ldt | 1u << type_tss32 | 1u << type_tss32_busy | 1u << type_call_gate32
                          : 1u << type_tss16 | 1u << type_ldt | 1u << type_tss16_busy | 1u << type_call_gate16
                                | 1u << type_task_gate | 1u << type_tss32 | 1u << type_tss32_busy
                                | 1u << type_call_gate32;
    return types >> d.type() & 1;
}
bool lsl_accepts(const Cpu& cpu, const Descriptor& d) {
    if (!d.system()) return true;
    const u32 types = cpu.mode.long_mode ? 1u << type_ldt | 1u << type_tss32 | 1u << type_tss32_busy
                                         : 1u << type_tss16 | 1u << type_ldt | 1u << type_tss16_busy | 1u << type_tss32
                                               | 1u << type_tss32_busy;
    return types >> d.type() & 1;
}

template <bool memory, bool limit> Flow lar_or_lsl(Cpu& cpu, const Instruction& i) {
    if (protected_only(cpu)) return cpu.undefined_opcode();
    u16 selector = 0;
    if (!read_selector<memory>(cpu, i, i.source, selector)) return Flow::fault;
    Descriptor d;
    bool ok = false;
    if (!is_null(selector)) {
        const Lookup lookup = find_descriptor(cpu, selector, d);
        if (lookup == Lookup::fault) return Flow::fault;
        ok = lookup == Lookup::found && visible(cpu, d) && (limit ? lsl_accepts(cpu, d) : lar_accepts(cpu, d));
    }
    // A 16-byte descriptor has to lie within the table as a whole.
    if (ok && cpu.mode.long_mode && d.system()) {
        const Lookup upper = find_upper_half(cpu, d);
        if (upper == Lookup::fault) return Flow::fault;
        ok = upper == Lookup::found && !(d.high >> 40 & 0x1F);
    }
    if (ok) set_gpr_sized(cpu, i.dest, limit ? d.limit() : (d.low >> 32 & 0x00FFFF00), i.operand_size);
    set_zf(cpu, ok);
    return Flow::next;
}

template <bool memory, bool write> Flow verify(Cpu& cpu, const Instruction& i) {
    if (protected_only(cpu)) return cpu.undefined_opcode();
    u16 selector = 0;
    if (!read_selector<memory>(cpu, i, i.dest, selector)) return Flow::fault;
    Descriptor d;
    bool ok = false;
    if (!is_null(selector)) {
        const Lookup lookup = find_descriptor(cpu, selector, d);
        if (lookup == Lookup::fault) return Flow::fault;
        ok = lookup == Lookup::found && !d.system() && visible(cpu, d) && (write ? d.writable() : d.readable());
    }
    set_zf(cpu, ok);
    return Flow::next;
}

template <bool memory> Flow arpl(Cpu& cpu, const Instruction& i) {
    if (protected_only(cpu) || cpu.mode.mode64) return cpu.undefined_opcode();
    const u16 asker = cpu.gpr<u16>(i.source) & 3;
    bool raised = false;
    const auto adjusted = [&](u16 selector) {
        raised = (selector & 3) < asker;
        return static_cast<u16>(raised ? (selector & ~3) | asker : selector);
    };
    if constexpr (memory) {
        if (!cpu.modify<u16>(i.segment(), effective_address(cpu.state, i), false, adjusted)) return Flow::fault;
    } else {
        cpu.set_gpr<u16>(i.dest, adjusted(cpu.gpr<u16>(i.dest)));
    }
    set_zf(cpu, raised);
    return Flow::next;
}

} // namespace

Handler select_lar(const Form& f) {
    return f.memory(1) ? threaded<lar_or_lsl<true, false>> : threaded<lar_or_lsl<false, false>>;
}
Handler select_lsl(const Form& f) {
    return f.memory(1) ? threaded<lar_or_lsl<true, true>> : threaded<lar_or_lsl<false, true>>;
}
Handler select_verr(const Form& f) {
    return f.memory(0) ? threaded<verify<true, false>> : threaded<verify<false, false>>;
}
Handler select_verw(const Form& f) {
    return f.memory(0) ? threaded<verify<true, true>> : threaded<verify<false, true>>;
}
Handler select_arpl(const Form& f) { return f.memory(0) ? threaded<arpl<true>> : threaded<arpl<false>>; }

} // namespace calque::cpu
