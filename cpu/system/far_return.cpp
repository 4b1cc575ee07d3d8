// Far RET and IRET (SDM volume 2, RET and IRET; volume 3, 5.8.6, 6.12 and 20.2).
#include "cpu/system/canonical.h"
#include "cpu/system/far_transfer.h"
#include "cpu/system/handlers.h"
#include "cpu/system/task.h"

namespace calque::cpu {

bool read_return_code(Cpu& cpu, u16 selector, Descriptor& out) {
    const u32 error = selector_error(selector, 0);
    if (is_null(selector)) return fail(cpu, Vector::general_protection, 0);
    if (!read_descriptor(cpu, selector, Vector::general_protection, 0, out)) return false;
    const u8 rpl = selector & 3;
    const bool fits = out.conforming() ? out.dpl() <= rpl : out.dpl() == rpl;
    const bool sane = out.is_code() && !(cpu.mode.long_mode && out.long_mode() && out.big());
    if (!sane || rpl < cpu.mode.cpl || !fits) return fail(cpu, Vector::general_protection, error);
    if (!out.present()) return fail(cpu, Vector::segment_not_present, error);
    return true;
}

bool read_return_stack(Cpu& cpu, u16 selector, u8 cpl, const Descriptor& code, SegmentRegister& out) {
    if (is_null(selector)) {
        const bool wide = cpu.mode.long_mode && code.long_mode();
        if (!wide || cpl == 3 || (selector & 3) != cpl) return fail(cpu, Vector::general_protection, 0);
        out = null_stack_segment(cpl);
        return true;
    }
    Descriptor d;
    if (!read_stack_segment(cpu, selector, cpl, Vector::general_protection, 0, d) || !mark_accessed(cpu, d))
        return false;
    out = d.segment();
    return true;
}

void drop_inner_data_segments(Cpu& cpu) {
    for (unsigned n : {es, ds, fs, gs}) {
        SegmentRegister& s = cpu.state.segment[n];
        const bool conforming = (s.rights & 0x1C) == 0x1C;
        // What is null already keeps its base: FS and GS in 64-bit mode.
        if (s.present() && !conforming && s.dpl() < cpu.mode.cpl) s = {};
    }
}

namespace {

// The new stack pointer, by the width of the stack returned to.
void set_outer_stack(Cpu& cpu, const SegmentRegister& segment, u8 cpl, u64 pointer) {
    cpu.state.segment[ss] = segment;
    cpu.set_cpl(cpl);
    cpu.set_rsp(pointer);
}

bool return_real(Cpu& cpu, unsigned size, u16 extra_bytes) {
    StackReader stack(cpu);
    u64 rip = 0, selector = 0;
    if (!stack.pop(rip, size) || !stack.pop(selector, size)) return false;
    if (rip > cpu.state.segment[cs].limit) return fail(cpu, Vector::general_protection, 0);
    stack.skip(extra_bytes);
    cpu.set_rsp(stack.pointer());
    cpu.load_segment_real(cs, static_cast<u16>(selector));
    cpu.state.rip() = rip;
    cpu.update_mode();
    return true;
}

bool return_protected(Cpu& cpu, unsigned size, u16 extra_bytes) {
    StackReader stack(cpu);
    u64 rip = 0, selector = 0;
    if (!stack.pop(rip, size) || !stack.pop(selector, size)) return false;
    Descriptor code;
    if (!read_return_code(cpu, static_cast<u16>(selector), code)) return false;
    const u8 cpl = selector & 3;
    stack.skip(extra_bytes);
    if (cpl == cpu.mode.cpl) {
        if (!check_target(cpu, code, rip) || !mark_accessed(cpu, code)) return false;
        cpu.set_rsp(stack.pointer());
        load_code_segment(cpu, code, cpl, rip);
        cpu.update_mode();
        return true;
    }
    u64 outer_rsp = 0, outer_ss = 0;
    SegmentRegister segment;
    if (!stack.pop(outer_rsp, size) || !stack.pop(outer_ss, size)) return false;
    if (!read_return_stack(cpu, static_cast<u16>(outer_ss), cpl, code, segment)) return false;
    if (!check_target(cpu, code, rip) || !mark_accessed(cpu, code)) return false;
    load_code_segment(cpu, code, cpl, rip);
    set_outer_stack(cpu, segment, cpl, outer_rsp + extra_bytes);
    drop_inner_data_segments(cpu);
    return true;
}

// The bits of RFLAGS that IRET loads in any mode.
constexpr u64 returned_flags = arithmetic_flags | flag_tf | flag_df | flag_nt | flag_rf | flag_ac | flag_id;

void load_flags(Cpu& cpu, u64 value, u64 mask, unsigned size) {
    if (size == 2) mask &= 0xFFFF;
    write_rflags(cpu.state, (cpu.rflags() & ~mask) | (value & mask));
    if (cpu.state.rflags & flag_rf) cpu.keep_resume_flag();
}
// By the privilege that the IRET runs with.
u64 flags_by_privilege(const Cpu& cpu) {
    u64 mask = returned_flags;
    if (cpu.mode.cpl <= iopl(cpu.state)) mask |= flag_if;
    if (cpu.mode.cpl == 0) mask |= flag_iopl | flag_vif | flag_vip;
    return mask;
}

bool iret_real(Cpu& cpu, unsigned size) {
    StackReader stack(cpu);
    u64 rip = 0, selector = 0, flags = 0;
    if (!stack.pop(rip, size) || !stack.pop(selector, size) || !stack.pop(flags, size)) return false;
    if (rip > cpu.state.segment[cs].limit) return fail(cpu, Vector::general_protection, 0);
    u64 mask = returned_flags | flag_if;
    if (cpu.mode.vm86 && iopl(cpu.state) < 3) {
        // With VME: VIF stands for IF (SDM volume 3, 20.3.1).
        if (((flags & flag_if) && (cpu.state.rflags & flag_vip)) || (flags & flag_tf))
            return fail(cpu, Vector::general_protection, 0);
        mask &= ~flag_if;
        cpu.state.rflags = (cpu.state.rflags & ~flag_vif) | (flags & flag_if ? flag_vif : 0);
    } else if (!cpu.mode.vm86) {
        mask |= flag_iopl;
    }
    cpu.set_rsp(stack.pointer());
    cpu.load_segment_real(cs, static_cast<u16>(selector));
    cpu.state.rip() = rip;
    load_flags(cpu, flags, mask, size);
    cpu.update_mode();
    return true;
}

bool iret_to_vm86(Cpu& cpu, StackReader& stack, u64 rip, u64 selector, u64 flags) {
    u64 esp = 0, stack_selector = 0, data[4] = {};
    if (!stack.pop(esp, 4) || !stack.pop(stack_selector, 4)) return false;
    for (u64& value : data)
        if (!stack.pop(value, 4)) return false;
    if (rip > 0xFFFF) return fail(cpu, Vector::general_protection, 0);
    load_flags(cpu, flags, returned_flags | flag_if | flag_iopl | flag_vm | flag_vif | flag_vip, 4);
    cpu.update_mode();
    constexpr unsigned order[4] = {es, ds, fs, gs};
    for (unsigned n = 0; n < 4; ++n)
        cpu.load_segment_real(order[n], static_cast<u16>(data[n]));
    cpu.load_segment_real(cs, static_cast<u16>(selector));
    cpu.load_segment_real(ss, static_cast<u16>(stack_selector));
    cpu.state.rip() = rip;
    cpu.state.gpr[rsp] = esp;
    cpu.update_mode();
    return true;
}

bool iret_protected(Cpu& cpu, unsigned size) {
    StackReader stack(cpu);
    u64 rip = 0, selector = 0, flags = 0;
    if (!stack.pop(rip, size) || !stack.pop(selector, size) || !stack.pop(flags, size)) return false;
    if ((flags & flag_vm) && size == 4 && cpu.mode.cpl == 0 && !cpu.mode.long_mode)
        return iret_to_vm86(cpu, stack, rip, selector, flags);
    Descriptor code;
    if (!read_return_code(cpu, static_cast<u16>(selector), code)) return false;
    const u8 cpl = selector & 3;
    const bool outer = cpl != cpu.mode.cpl;
    // 64-bit mode always has a stack pointer and segment in the frame.
    const bool full_frame = outer || cpu.mode.mode64;
    u64 frame_rsp = 0, frame_ss = 0;
    SegmentRegister segment;
    if (full_frame) {
        if (!stack.pop(frame_rsp, size) || !stack.pop(frame_ss, size)) return false;
        if (!read_return_stack(cpu, static_cast<u16>(frame_ss), cpl, code, segment)) return false;
    }
    if (!check_target(cpu, code, rip) || !mark_accessed(cpu, code)) return false;
    load_flags(cpu, flags, flags_by_privilege(cpu), size);
    if (!full_frame) cpu.set_rsp(stack.pointer());
    load_code_segment(cpu, code, cpl, rip);
    if (full_frame) {
        set_outer_stack(cpu, segment, cpl, frame_rsp);
        if (size == 8) cpu.state.gpr[rsp] = frame_rsp;
    } else {
        cpu.update_mode();
    }
    if (outer) drop_inner_data_segments(cpu);
    return true;
}

} // namespace

Flow Cpu::far_return(unsigned operand_size, u16 extra_bytes) {
    const bool real = !mode.protected_mode || mode.vm86;
    const bool ok =
        real ? return_real(*this, operand_size, extra_bytes) : return_protected(*this, operand_size, extra_bytes);
    return ok ? Flow::exit : Flow::fault;
}

Flow Cpu::interrupt_return(unsigned operand_size) {
    if (mode.vm86 && iopl(state) < 3 && !((state.cr4 & cr4_vme) && operand_size == 2)) return general_protection();
    // Also when it faults: SDM volume 3, 6.7.1.
    state.nmi_blocked = false;
    if (!mode.protected_mode || mode.vm86) return iret_real(*this, operand_size) ? Flow::exit : Flow::fault;
    if (state.rflags & flag_nt) {
        if (mode.long_mode) return general_protection();
        return return_to_previous_task(*this);
    }
    return iret_protected(*this, operand_size) ? Flow::exit : Flow::fault;
}

} // namespace calque::cpu
