// Exceptions and interrupts on their way to deliver(): double faults, shutdown, software interrupts
// (SDM volume 3, chapter 6).
#include "cpu/system/debug_bits.h"
#include "cpu/system/descriptor.h"
#include "cpu/system/event.h"
#include "cpu/system/handlers.h"

namespace calque::cpu {

namespace {

enum class Class : u8 { benign, contributory, page_fault };

// SDM volume 3, table 6-4.
Class class_of(Vector v) {
    switch (v) {
    case Vector::divide_error:
    case Vector::invalid_tss:
    case Vector::segment_not_present:
    case Vector::stack_fault:
    case Vector::general_protection: return Class::contributory;
    case Vector::page_fault: return Class::page_fault;
    default: return Class::benign;
    }
}
// Table 6-5.
bool makes_double_fault(Vector first, Vector second) {
    if (class_of(second) == Class::benign) return false;
    if (class_of(first) == Class::contributory) return class_of(second) == Class::contributory;
    return class_of(first) == Class::page_fault;
}

// Faults push RF so that the instruction is not stopped by its breakpoint again; traps and aborts do not. A #DB for an
// instruction breakpoint pushes what there is (SDM volume 3, 17.3.1.1).
bool pushes_resume_flag(Vector v, u64 debug_bits) {
    switch (v) {
    case Vector::debug: return debug_bits & dr6_bd;
    case Vector::nmi:
    case Vector::breakpoint:
    case Vector::overflow:
    case Vector::double_fault:
    case Vector::machine_check: return false;
    default: return true;
    }
}

} // namespace

void Cpu::shut_down(const Exception& last) {
    state.activity = Activity::shutdown;
    log.trace(Channel::exception,
              "cpu {}: shutdown: exception {} (error code {:#x}) while delivering a double fault, "
              "at {:#x}",
              index, static_cast<unsigned>(last.vector), last.error_code, state.rip());
}

void Cpu::deliver_exception() {
    if (!exception_) return;
    Exception current = *take_exception();
    u64 debug_bits = state.pending_debug;
    state.pending_debug = 0;
    // Each round either delivers or meets another exception; a chain that does not end in shutdown is a guest that
    // faults for ever, and is left to try its instruction again.
    for (unsigned round = 0; round < 8; ++round) {
        if (current.vector == Vector::page_fault) state.cr2 = current.address;
        if (current.vector == Vector::debug) {
            state.dr[6] = (state.dr[6] & ~dr6_breakpoints) | debug_bits | dr6_ones;
            state.dr[7] &= ~dr7_gd;
            state.debugctl &= ~(debugctl_lbr | debugctl_btf);
        }
        log.trace(Channel::exception, "cpu {}: exception {} error code {:#x} at {:#x}:{:#x} cr2 {:#x} cpl {}", index,
                  static_cast<unsigned>(current.vector), current.error_code, state.segment[cs].selector, state.rip(),
                  state.cr2, mode.cpl);
        SystemEvent event;
        event.vector = static_cast<u8>(current.vector);
        if (has_error_code(current.vector)) event.error_code = current.error_code;
        event.resume_flag = pushes_resume_flag(current.vector, debug_bits);
        state.interrupt_shadow = state.debug_shadow = false;
        const u64 address = linear_rip();
        if (deliver(*this, event) == Flow::exit) {
            note_debug_exception(event.vector, event.error_code.value_or(0), address);
            break;
        }
        const Exception next = *take_exception();
        if (current.vector == Vector::double_fault && class_of(next.vector) != Class::benign) {
            if (next.vector == Vector::page_fault) state.cr2 = next.address;
            shut_down(next);
            break;
        }
        if (makes_double_fault(current.vector, next.vector)) {
            if (next.vector == Vector::page_fault) state.cr2 = next.address;
            current = {Vector::double_fault, 0, 0};
        } else {
            current = next;
        }
        debug_bits = 0;
    }
    exit_.flow = Flow::exit;
    update_slow_flag();
}

Flow Cpu::raise_debug(u64 dr6_bits) {
    state.pending_debug |= dr6_bits;
    return raise(Vector::debug);
}

void Cpu::deliver_interrupt(u8 vector) {
    log.trace(Channel::exception, "cpu {}: interrupt {:#x} at {:#x}:{:#x}", index, vector, state.segment[cs].selector,
              state.rip());
    SystemEvent event;
    event.vector = vector;
    if (deliver(*this, event) != Flow::exit) deliver_exception();
}

void Cpu::deliver_nmi() {
    log.trace(Channel::exception, "cpu {}: NMI at {:#x}:{:#x}", index, state.segment[cs].selector, state.rip());
    state.nmi_blocked = true;
    SystemEvent event;
    event.vector = static_cast<u8>(Vector::nmi);
    if (deliver(*this, event) != Flow::exit) deliver_exception();
}

namespace {

// The virtual-8086 mode extensions: INT n through the program's own table at linear address 0 (SDM volume 3, 20.3).
Flow interrupt_in_vm86(Cpu& cpu, u8 vector) {
    CpuState& s = cpu.state;
    u32 target = 0;
    if (!cpu.read_system(vector * 4u, target)) return Flow::fault;
    // Below IOPL 3 the program sees VIF in place of IF, and IOPL 3.
    u64 image = cpu.rflags();
    const bool virtual_if = iopl(s) < 3;
    if (virtual_if) image = (image & ~flag_if) | (s.rflags & flag_vif ? flag_if : 0) | flag_iopl;
    const u64 at = s.gpr[rsp];
    const u64 top = at & 0xFFFF;
    if (!cpu.write(ss, (top - 2) & 0xFFFF, static_cast<u16>(image))
        || !cpu.write(ss, (top - 4) & 0xFFFF, s.segment[cs].selector)
        || !cpu.write(ss, (top - 6) & 0xFFFF, static_cast<u16>(s.rip())))
        return Flow::fault;
    cpu.set_rsp(at - 6);
    cpu.load_segment_real(cs, static_cast<u16>(target >> 16));
    s.rip() = target & 0xFFFF;
    s.rflags &= ~(flag_tf | flag_nt | (virtual_if ? flag_vif : flag_if));
    cpu.update_mode();
    cpu.suppress_single_step();
    return Flow::exit;
}

// Whether the TSS's redirection bitmap, the 32 bytes before the I/O bitmap, sends the vector through the IDT.
bool redirected(Cpu& cpu, u8 vector, bool& through_idt) {
    const SegmentRegister& task = cpu.state.segment[tr];
    u16 io_base = 0;
    if (task.limit < 103) return fail(cpu, Vector::general_protection, 0);
    if (!cpu.read_system(system_address(cpu, task.base, 102), io_base)) return false;
    const u64 at = io_base - 32u + vector / 8;
    u8 byte = 0;
    if (io_base < 32 || at > task.limit) return fail(cpu, Vector::general_protection, 0);
    if (!cpu.read_system(system_address(cpu, task.base, at), byte)) return false;
    through_idt = byte >> (vector & 7) & 1;
    return true;
}

} // namespace

Flow Cpu::software_interrupt(u8 vector, bool int3_or_into) {
    state.rflags &= ~flag_rf;
    if (mode.vm86 && !int3_or_into) {
        bool through_idt = true;
        if ((state.cr4 & cr4_vme) && !redirected(*this, vector, through_idt)) return Flow::fault;
        if (!through_idt) return interrupt_in_vm86(*this, vector);
        if (iopl(state) < 3) return general_protection();
    }
    SystemEvent event;
    event.vector = vector;
    event.software = true;
    const u64 address = linear_rip();
    const Flow flow = deliver(*this, event);
    if (flow == Flow::exit) {
        suppress_single_step();
        if (int3_or_into) note_debug_exception(vector, 0, address);
    }
    return flow;
}

} // namespace calque::cpu
