// Interrupt and exception delivery through the IVT and the IDT (SDM volume 3, 6.11 to 6.14 and 20.1).
#include "cpu/system/canonical.h"
#include "cpu/system/event.h"
#include "cpu/system/frame_stack.h"
#include "cpu/system/handlers.h"
#include "cpu/system/task.h"

namespace calque::cpu {

namespace {

// What delivery clears in RFLAGS in protected mode; interrupt gates clear IF too.
constexpr u64 cleared_always = flag_tf | flag_nt | flag_rf | flag_vm;

u64 flags_image(const Cpu& cpu, const SystemEvent& event) { return cpu.rflags() | (event.resume_flag ? flag_rf : 0); }
// Error codes about a gate: its place in the IDT, with the IDT bit.
u32 gate_error(const SystemEvent& event) { return event.vector * 8u | 2 | event.ext(); }

// The checks that call for the vector's gate to be a gate, reachable and present.
bool check_gate(Cpu& cpu, const SystemEvent& event, const Descriptor& gate, bool type_ok) {
    if (!gate.system() || !type_ok) return fail(cpu, Vector::general_protection, gate_error(event));
    if (event.software && gate.dpl() < cpu.mode.cpl) return fail(cpu, Vector::general_protection, gate_error(event));
    if (!gate.present()) return fail(cpu, Vector::segment_not_present, gate_error(event));
    return true;
}

// The handler's code segment.
bool read_target(Cpu& cpu, const SystemEvent& event, const Descriptor& gate, Descriptor& code) {
    const u16 selector = gate.gate_selector();
    const u32 error = selector_error(selector, event.ext());
    if (is_null(selector)) return fail(cpu, Vector::general_protection, event.ext());
    if (!read_descriptor(cpu, selector, Vector::general_protection, event.ext(), code)) return false;
    if (!code.is_code() || code.dpl() > cpu.mode.cpl) return fail(cpu, Vector::general_protection, error);
    if (cpu.mode.long_mode && (!code.long_mode() || code.big())) return fail(cpu, Vector::general_protection, error);
    if (!code.present()) return fail(cpu, Vector::segment_not_present, error);
    // From virtual-8086 mode handlers run at privilege level 0 only.
    if (cpu.mode.vm86 && (code.conforming() || code.dpl() != 0)) return fail(cpu, Vector::general_protection, error);
    return true;
}

// Enters the handler: CS, RIP, the stack and the flags at once.
void enter(Cpu& cpu, const Descriptor& code, u8 cpl, u64 rip, u64 clear) {
    SegmentRegister segment = code.segment();
    segment.selector = static_cast<u16>((segment.selector & ~3) | cpl);
    cpu.state.segment[cs] = segment;
    cpu.state.rip() = rip;
    cpu.state.rflags &= ~clear;
    cpu.set_cpl(cpl);
}

// Segment registers that a handler entered from virtual-8086 mode finds null.
void clear_data_segments(CpuState& s) {
    for (unsigned n : {es, ds, fs, gs})
        s.segment[n] = {};
}

bool deliver_real(Cpu& cpu, const SystemEvent& event) {
    const u64 entry = event.vector * 4u;
    if (entry + 3 > cpu.state.idtr.limit) return fail(cpu, Vector::general_protection, 0);
    u32 target = 0;
    if (!cpu.read_system(system_address(cpu, cpu.state.idtr.base, entry), target)) return false;
    FrameStack stack(cpu, current_stack(cpu), cpu.mode.cpl, 0);
    if (!stack.push(static_cast<u16>(flags_image(cpu, event))) || !stack.push(cpu.state.segment[cs].selector)
        || !stack.push(static_cast<u16>(cpu.state.rip())))
        return false;
    cpu.set_rsp(stack.pointer());
    cpu.load_segment_real(cs, static_cast<u16>(target >> 16));
    cpu.state.rip() = target & 0xFFFF;
    cpu.state.rflags &= ~(flag_if | flag_tf | flag_ac | flag_rf);
    cpu.update_mode();
    return true;
}

// An interrupt or trap gate of a 16- or 32-bit handler.
bool deliver_through_gate(Cpu& cpu, const SystemEvent& event, const Descriptor& gate) {
    CpuState& s = cpu.state;
    const u8 type = gate.type();
    Descriptor code;
    if (!read_target(cpu, event, gate, code)) return false;
    const unsigned size = type & 8 ? 4 : 2;
    const u8 old_cpl = cpu.mode.cpl;
    const u8 cpl = code.conforming() ? old_cpl : code.dpl();
    const bool from_vm86 = cpu.mode.vm86;
    const u64 offset = size == 4 ? gate.gate_offset() : gate.gate_offset() & 0xFFFF;
    StackPlace place = current_stack(cpu);
    u32 stack_error = event.ext();
    if (cpl != old_cpl) {
        if (!inner_stack(cpu, cpl, event.ext(), place)) return false;
        stack_error = selector_error(place.segment.selector, event.ext());
    }
    if (offset > code.limit()) return fail(cpu, Vector::general_protection, event.ext());
    FrameStack stack(cpu, place, cpl, stack_error);
    bool ok = true;
    if (from_vm86)
        for (unsigned n : {gs, fs, ds, es})
            ok = ok && stack.push(s.segment[n].selector, size);
    if (cpl != old_cpl) ok = ok && stack.push(s.segment[ss].selector, size) && stack.push(s.gpr[rsp], size);
    ok = ok && stack.push(flags_image(cpu, event), size) && stack.push(s.segment[cs].selector, size)
         && stack.push(s.rip(), size);
    if (event.error_code) ok = ok && stack.push(*event.error_code, size);
    if (!ok || !mark_accessed(cpu, code)) return false;

    if (from_vm86) clear_data_segments(s);
    if (cpl != old_cpl) s.segment[ss] = place.segment;
    enter(cpu, code, cpl, offset, cleared_always | (type & 1 ? 0 : flag_if));
    cpu.set_rsp(stack.pointer());
    return true;
}

Flow deliver_protected(Cpu& cpu, const SystemEvent& event) {
    const CpuState& s = cpu.state;
    Descriptor gate;
    if (event.vector * 8u + 7 > s.idtr.limit) return cpu.raise(Vector::general_protection, gate_error(event));
    if (!cpu.read_system(system_address(cpu, s.idtr.base, event.vector * 8u), gate.low)) return Flow::fault;
    const u8 type = gate.type();
    const bool type_ok = type == type_task_gate || type == type_interrupt_gate16 || type == type_trap_gate16
                         || type == type_interrupt_gate32 || type == type_trap_gate32;
    if (!check_gate(cpu, event, gate, type_ok)) return Flow::fault;
    if (type == type_task_gate)
        return switch_by_gate(cpu, gate, TaskSwitch::interrupt, {event.ext(), event.error_code, event.resume_flag});
    return deliver_through_gate(cpu, event, gate) ? Flow::exit : Flow::fault;
}

bool deliver_long(Cpu& cpu, const SystemEvent& event) {
    CpuState& s = cpu.state;
    Descriptor gate;
    const u64 entry = event.vector * 16u;
    if (entry + 15 > s.idtr.limit) return fail(cpu, Vector::general_protection, gate_error(event));
    if (!cpu.read_system(s.idtr.base + entry, gate.low) || !cpu.read_system(s.idtr.base + entry + 8, gate.high))
        return false;
    gate.high &= 0xFFFFFFFF;
    const u8 type = gate.type();
    if (!check_gate(cpu, event, gate, type == type_interrupt_gate32 || type == type_trap_gate32)) return false;
    Descriptor code;
    if (!read_target(cpu, event, gate, code)) return false;
    const u8 old_cpl = cpu.mode.cpl;
    const u8 cpl = code.conforming() ? old_cpl : code.dpl();

    // The stack is the TSS's for the new level, an interrupt stack, or the one in force: 16-byte aligned in any case.
    StackPlace place{s.segment[ss], s.gpr[rsp], true};
    if (cpl != old_cpl) place.segment = null_stack_segment(cpl);
    if (gate.gate_ist() != 0) {
        if (!interrupt_stack(cpu, gate.gate_ist(), event.ext(), place.pointer)) return false;
    } else if (cpl != old_cpl) {
        if (!inner_stack(cpu, cpl, event.ext(), place)) return false;
    }
    place.pointer &= ~u64{0xF};
    if (!is_canonical(gate.gate_offset())) return fail(cpu, Vector::general_protection, event.ext());
    FrameStack stack(cpu, place, cpl, event.ext());
    bool ok = stack.push<u64>(s.segment[ss].selector) && stack.push(s.gpr[rsp]) && stack.push(flags_image(cpu, event))
              && stack.push<u64>(s.segment[cs].selector) && stack.push(s.rip());
    if (event.error_code) ok = ok && stack.push<u64>(*event.error_code);
    if (!ok || !mark_accessed(cpu, code)) return false;

    s.segment[ss] = place.segment;
    s.gpr[rsp] = stack.pointer();
    enter(cpu, code, cpl, gate.gate_offset(), cleared_always | (type & 1 ? 0 : flag_if));
    return true;
}

} // namespace

Flow deliver(Cpu& cpu, const SystemEvent& event) {
    if (cpu.mode.protected_mode && !cpu.mode.long_mode) return deliver_protected(cpu, event);
    const bool done = cpu.mode.long_mode ? deliver_long(cpu, event) : deliver_real(cpu, event);
    return done ? Flow::exit : Flow::fault;
}

} // namespace calque::cpu
