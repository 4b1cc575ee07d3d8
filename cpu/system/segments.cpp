// Loading and storing segment registers (SDM volume 3, 5.5 to 5.7; volume 2, MOV, POP, LDS).
#include "cpu/system/descriptor.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

void Cpu::load_segment_real(unsigned segment, u16 selector) {
    SegmentRegister& s = state.segment[segment];
    s.selector = selector;
    s.base = u64{selector} << 4;
    if (mode.vm86) {
        s.limit = 0xFFFF;
        s.rights = 0xF3;
        return;
    }
    // Real mode replaces the base alone; the limit and the default size stay as protected mode left them. A segment
    // that could not be used becomes usable.
    if (!s.present()) s.limit = 0xFFFF;
    s.rights = static_cast<u16>((s.rights & 0xC000) | 0x93);
}

bool Cpu::load_segment(unsigned segment, u16 selector) {
    if (!mode.protected_mode || mode.vm86) {
        load_segment_real(segment, selector);
        return true;
    }
    SegmentRegister& target = state.segment[segment];
    const u8 cpl = mode.cpl;
    if (is_null(selector)) {
        if (segment == ss) {
            if (!mode.mode64 || cpl == 3 || (selector & 3) != cpl) return fail(*this, Vector::general_protection, 0);
            target = null_stack_segment(cpl);
        } else {
            target = {selector, 0, 0, 0};
        }
        return true;
    }
    Descriptor d;
    if (segment == ss) {
        if (!read_stack_segment(*this, selector, cpl, Vector::general_protection, 0, d)) return false;
    } else {
        if (!read_descriptor(*this, selector, Vector::general_protection, 0, d)) return false;
        const u32 error = selector_error(selector, 0);
        if (!d.readable()) return fail(*this, Vector::general_protection, error);
        const bool guarded = !d.is_code() || !d.conforming();
        if (guarded && (d.rpl() > d.dpl() || cpl > d.dpl())) return fail(*this, Vector::general_protection, error);
        if (!d.present()) return fail(*this, Vector::segment_not_present, error);
    }
    if (!mark_accessed(*this, d)) return false;
    target = d.segment();
    if (segment == ss) mode.stack32 = target.big();
    return true;
}

namespace {

// After a load of SS: the stack's width, and nothing comes between this instruction and the next.
Flow after_load(Cpu& cpu, unsigned segment) {
    if (segment != ss) return Flow::next;
    cpu.mode.stack32 = cpu.state.segment[ss].big() && !cpu.mode.vm86;
    cpu.begin_shadow(true);
    return Flow::exit;
}

Flow mov_segment_from_register(Cpu& cpu, const Instruction& i) {
    if (i.dest == cs) return cpu.undefined_opcode();
    if (!cpu.load_segment(i.dest, cpu.gpr<u16>(i.source))) return Flow::fault;
    return after_load(cpu, i.dest);
}
Flow mov_segment_from_memory(Cpu& cpu, const Instruction& i) {
    if (i.dest == cs) return cpu.undefined_opcode();
    u16 selector;
    if (!cpu.read_operand(i, selector) || !cpu.load_segment(i.dest, selector)) return Flow::fault;
    return after_load(cpu, i.dest);
}
// To a register the selector is zero-extended to the operand size; to memory it is always 16 bits.
Flow mov_register_from_segment(Cpu& cpu, const Instruction& i) {
    set_gpr_sized(cpu, i.dest, cpu.state.segment[i.source].selector, i.operand_size);
    return Flow::next;
}
Flow mov_memory_from_segment(Cpu& cpu, const Instruction& i) {
    return cpu.write_operand(i, cpu.state.segment[i.source].selector) ? Flow::next : Flow::fault;
}

// A 32-bit PUSH of a segment register may write only its low word (SDM volume 2, PUSH): modern processors do.
Flow push_segment(Cpu& cpu, const Instruction& i) {
    const u16 selector = cpu.state.segment[i.dest].selector;
    const u64 at = (cpu.state.gpr[rsp] - i.operand_size) & cpu.stack_mask();
    if (i.operand_size == 8) return cpu.push<u64>(selector) ? Flow::next : Flow::fault;
    if (i.operand_size == 2) return cpu.push<u16>(selector) ? Flow::next : Flow::fault;
    LinearAddress whole;
    if (!cpu.linear(cpu.stack_segment(), at, 4, mmu::Access::write, whole)) return Flow::fault;
    if (!cpu.write(cpu.stack_segment(), at, selector)) return Flow::fault;
    cpu.set_rsp(at);
    return Flow::next;
}
Flow pop_segment(Cpu& cpu, const Instruction& i) {
    u16 selector;
    const u64 at = cpu.state.gpr[rsp];
    LinearAddress whole;
    if (!cpu.linear(cpu.stack_segment(), at & cpu.stack_mask(), i.operand_size, mmu::Access::read, whole))
        return Flow::fault;
    if (!cpu.read(cpu.stack_segment(), at & cpu.stack_mask(), selector)) return Flow::fault;
    // The width of the stack pointer is that of the stack popped from, also when SS itself changes.
    const u64 mask = cpu.stack_mask();
    if (!cpu.load_segment(i.dest, selector)) return Flow::fault;
    u64& sp = cpu.state.gpr[rsp];
    const u64 next = at + i.operand_size;
    sp = mask == 0xFFFF ? (at & ~mask) | (next & mask) : next & mask;
    return after_load(cpu, i.dest);
}

// LDS, LES, LSS, LFS, LGS.
template <unsigned segment> Flow load_far_pointer(Cpu& cpu, const Instruction& i) {
    const u64 at = effective_address(cpu.state, i);
    const u64 mask = address_mask(i.address_bytes());
    u64 offset = 0;
    u16 selector;
    const bool read = with_size(i.operand_size, [&](auto t) {
        decltype(t) value;
        if (!cpu.read(i.segment(), at, value)) return false;
        offset = value;
        return true;
    });
    if (!read || !cpu.read(i.segment(), (at + i.operand_size) & mask, selector)) return Flow::fault;
    if (!cpu.load_segment(segment, selector)) return Flow::fault;
    set_gpr_sized(cpu, i.dest, offset, i.operand_size);
    if constexpr (segment == ss) {
        cpu.mode.stack32 = cpu.state.segment[ss].big() && !cpu.mode.vm86;
        return Flow::exit;
    }
    return Flow::next;
}

} // namespace

Handler select_mov_segment(const Form& f) {
    if (f.is(0, OperandKind::segment))
        return f.memory(1) ? threaded<mov_segment_from_memory> : threaded<mov_segment_from_register>;
    return f.memory(0) ? threaded<mov_memory_from_segment> : threaded<mov_register_from_segment>;
}
Handler select_push_segment(const Form&) { return threaded<push_segment>; }
Handler select_pop_segment(const Form&) { return threaded<pop_segment>; }
Handler select_lds(const Form& f) { return f.memory(1) ? threaded<load_far_pointer<ds>> : nullptr; }
Handler select_les(const Form& f) { return f.memory(1) ? threaded<load_far_pointer<es>> : nullptr; }
Handler select_lss(const Form& f) { return f.memory(1) ? threaded<load_far_pointer<ss>> : nullptr; }
Handler select_lfs(const Form& f) { return f.memory(1) ? threaded<load_far_pointer<fs>> : nullptr; }
Handler select_lgs(const Form& f) { return f.memory(1) ? threaded<load_far_pointer<gs>> : nullptr; }

} // namespace calque::cpu
