// Far JMP and CALL: to code segments, through call gates, to tasks (SDM volume 3, 5.8; volume 2, CALL and JMP).
#include "cpu/system/far_transfer.h"

#include "cpu/system/canonical.h"
#include "cpu/system/handlers.h"
#include "cpu/system/task.h"

namespace calque::cpu {

bool check_target(Cpu& cpu, const Descriptor& code, u64 offset, u32 ext) {
    const bool wide = cpu.mode.long_mode && code.long_mode();
    if (wide ? is_canonical(offset) : offset <= code.limit()) return true;
    return fail(cpu, Vector::general_protection, ext);
}

void load_code_segment(Cpu& cpu, const Descriptor& code, u8 cpl, u64 offset) {
    SegmentRegister segment = code.segment();
    segment.selector = static_cast<u16>((segment.selector & ~3) | cpl);
    cpu.state.segment[cs] = segment;
    cpu.state.rip() = offset;
}

namespace {

u64 truncated(u64 offset, unsigned size) { return size == 8 ? offset : offset & low_mask(size * 8); }

// L and D together are reserved in IA-32e mode.
bool code_is_sane(const Cpu& cpu, const Descriptor& d) {
    return d.is_code() && !(cpu.mode.long_mode && d.long_mode() && d.big());
}

// A code segment named by the far pointer itself.
bool check_direct(Cpu& cpu, const Descriptor& code) {
    const u32 error = selector_error(code.selector, 0);
    const u8 cpl = cpu.mode.cpl;
    const bool allowed = code.conforming() ? code.dpl() <= cpl : code.rpl() <= cpl && code.dpl() == cpl;
    if (!code_is_sane(cpu, code) || !allowed) return fail(cpu, Vector::general_protection, error);
    if (!code.present()) return fail(cpu, Vector::segment_not_present, error);
    return true;
}

bool real_jump(Cpu& cpu, u16 selector, u64 offset) {
    if (offset > cpu.state.segment[cs].limit) return fail(cpu, Vector::general_protection, 0);
    cpu.load_segment_real(cs, selector);
    cpu.state.rip() = offset;
    cpu.update_mode();
    return true;
}

enum class Target : u8 { code, call_gate, task_gate, tss, fault };

// What kind of descriptor the far pointer names, with the checks of gates and TSSs made.
Target classify(Cpu& cpu, u16 selector, Descriptor& d) {
    const auto fault = [&](Vector vector, u32 error) {
        cpu.raise(vector, error);
        return Target::fault;
    };
    if (is_null(selector)) return fault(Vector::general_protection, 0);
    if (!read_descriptor(cpu, selector, Vector::general_protection, 0, d)) return Target::fault;
    if (!d.system()) return Target::code;
    const u32 error = selector_error(selector, 0);
    Target target = Target::fault;
    switch (d.type()) {
    case type_call_gate16:
    case type_task_gate:
    case type_tss16:
    case type_tss32:
        if (cpu.mode.long_mode) break;
        target = d.type() == type_call_gate16 ? Target::call_gate
                 : d.type() == type_task_gate ? Target::task_gate
                                              : Target::tss;
        break;
    case type_call_gate32: target = Target::call_gate; break;
    default: break;
    }
    if (target == Target::fault || d.dpl() < cpu.mode.cpl || d.dpl() < d.rpl())
        return fault(Vector::general_protection, error);
    if (!d.present()) return fault(Vector::segment_not_present, error);
    if (target == Target::call_gate && cpu.mode.long_mode) {
        const Lookup upper = find_upper_half(cpu, d);
        // The upper half's type field must be zero.
        if (upper == Lookup::outside || (upper == Lookup::found && (d.high >> 40 & 0x1F)))
            return fault(Vector::general_protection, error);
        if (upper == Lookup::fault) return Target::fault;
        d.high &= 0xFFFFFFFF;
    }
    return target;
}

// The code segment that a call gate leads to.
bool read_gate_target(Cpu& cpu, const Descriptor& gate, Descriptor& code) {
    const u16 selector = gate.gate_selector();
    const u32 error = selector_error(selector, 0);
    if (is_null(selector)) return fail(cpu, Vector::general_protection, 0);
    if (!read_descriptor(cpu, selector, Vector::general_protection, 0, code)) return false;
    if (!code.is_code() || code.dpl() > cpu.mode.cpl) return fail(cpu, Vector::general_protection, error);
    if (cpu.mode.long_mode && (!code.long_mode() || code.big())) return fail(cpu, Vector::general_protection, error);
    if (!code.present()) return fail(cpu, Vector::segment_not_present, error);
    return true;
}
u64 gate_target_offset(const Descriptor& gate) {
    return gate.type() == type_call_gate16 ? gate.gate_offset() & 0xFFFF : gate.gate_offset();
}

bool jump_through_gate(Cpu& cpu, const Descriptor& gate) {
    Descriptor code;
    if (!read_gate_target(cpu, gate, code)) return false;
    if (!code.conforming() && code.dpl() != cpu.mode.cpl)
        return fail(cpu, Vector::general_protection, selector_error(code.selector, 0));
    const u64 offset = gate_target_offset(gate);
    if (!check_target(cpu, code, offset) || !mark_accessed(cpu, code)) return false;
    load_code_segment(cpu, code, cpu.mode.cpl, offset);
    cpu.update_mode();
    return true;
}

// The frame of a call that changes stacks: the old stack's place, the parameters, the return address.
bool push_inner_frame(Cpu& cpu, const Descriptor& gate, FrameStack& stack, unsigned size) {
    const CpuState& s = cpu.state;
    if (!stack.push(s.segment[ss].selector, size) || !stack.push(s.gpr[rsp], size)) return false;
    if (!cpu.mode.long_mode) {
        for (unsigned n = gate.gate_parameters(); n-- > 0;) {
            const u64 at = (s.gpr[rsp] + n * size) & cpu.stack_mask();
            u64 value = 0;
            const bool read = with_size(size, [&](auto t) {
                decltype(t) v = 0;
                const bool ok = cpu.read(ss, at, v);
                value = v;
                return ok;
            });
            if (!read || !stack.push(value, size)) return false;
        }
    }
    return stack.push(s.segment[cs].selector, size) && stack.push(s.rip(), size);
}

bool call_through_gate(Cpu& cpu, const Descriptor& gate) {
    Descriptor code;
    if (!read_gate_target(cpu, gate, code)) return false;
    const unsigned size = cpu.mode.long_mode ? 8 : gate.type() == type_call_gate16 ? 2 : 4;
    const u64 offset = gate_target_offset(gate);
    const u8 cpl = code.conforming() ? cpu.mode.cpl : code.dpl();
    const bool inner = cpl != cpu.mode.cpl;
    StackPlace place = current_stack(cpu);
    u32 stack_error = 0;
    if (inner) {
        if (!inner_stack(cpu, cpl, 0, place)) return false;
        stack_error = selector_error(place.segment.selector, 0);
    } else if (cpu.mode.long_mode) {
        place.flat = true; // The target is 64-bit code.
    }
    FrameStack stack(cpu, place, cpl, stack_error);
    if (inner) {
        if (!push_inner_frame(cpu, gate, stack, size)) return false;
    } else if (!stack.push(cpu.state.segment[cs].selector, size) || !stack.push(cpu.state.rip(), size)) {
        return false;
    }
    if (!check_target(cpu, code, offset) || !mark_accessed(cpu, code)) return false;
    if (inner) cpu.state.segment[ss] = place.segment;
    load_code_segment(cpu, code, cpl, offset);
    cpu.set_cpl(cpl);
    cpu.set_rsp(stack.pointer());
    return true;
}

} // namespace

Flow Cpu::far_jump(u16 selector, u64 offset, unsigned operand_size) {
    offset = truncated(offset, operand_size);
    const auto done = [](bool ok) { return ok ? Flow::exit : Flow::fault; };
    if (!mode.protected_mode || mode.vm86) return done(real_jump(*this, selector, offset));
    Descriptor d;
    switch (classify(*this, selector, d)) {
    case Target::call_gate: return done(jump_through_gate(*this, d));
    case Target::task_gate: return switch_by_gate(*this, d, TaskSwitch::jump);
    case Target::tss: return switch_task(*this, d, TaskSwitch::jump);
    case Target::fault: return Flow::fault;
    case Target::code: break;
    }
    if (!check_direct(*this, d) || !check_target(*this, d, offset) || !mark_accessed(*this, d)) return Flow::fault;
    load_code_segment(*this, d, mode.cpl, offset);
    update_mode();
    return Flow::exit;
}

Flow Cpu::far_call(u16 selector, u64 offset, unsigned operand_size) {
    offset = truncated(offset, operand_size);
    const auto done = [](bool ok) { return ok ? Flow::exit : Flow::fault; };
    const auto push_return = [&](FrameStack& stack) {
        return stack.push(state.segment[cs].selector, operand_size) && stack.push(state.rip(), operand_size);
    };
    FrameStack stack(*this, current_stack(*this), mode.cpl, 0);
    if (!mode.protected_mode || mode.vm86) {
        if (!push_return(stack) || !real_jump(*this, selector, offset)) return Flow::fault;
        set_rsp(stack.pointer());
        return Flow::exit;
    }
    Descriptor d;
    switch (classify(*this, selector, d)) {
    case Target::call_gate: return done(call_through_gate(*this, d));
    case Target::task_gate: return switch_by_gate(*this, d, TaskSwitch::call);
    case Target::tss: return switch_task(*this, d, TaskSwitch::call);
    case Target::fault: return Flow::fault;
    case Target::code: break;
    }
    if (!check_direct(*this, d) || !push_return(stack) || !check_target(*this, d, offset) || !mark_accessed(*this, d))
        return Flow::fault;
    set_rsp(stack.pointer());
    load_code_segment(*this, d, mode.cpl, offset);
    update_mode();
    return Flow::exit;
}

} // namespace calque::cpu
