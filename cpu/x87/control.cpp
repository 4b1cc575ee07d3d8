// Control and status words, FNINIT, FNCLEX, WAIT.
#include "cpu/x87/environment.h"
#include "cpu/x87/rows.h"
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

void initialize(Cpu& cpu) {
    X87State& x = cpu.state.x87;
    x.control = fcw_initial;
    x.status = 0;
    x.valid = 0;
    x.opcode = 0;
    x.instruction_pointer = x.data_pointer = 0;
    x.instruction_selector = x.data_selector = 0;
    update_summary(cpu);
}

namespace {

Flow init(Cpu& cpu, const Instruction&) {
    initialize(cpu);
    return Flow::next;
}

Flow clear_exceptions(Cpu& cpu, const Instruction&) {
    cpu.state.x87.status &= static_cast<u16>(~(fp::kAllFlags | fsw_sf));
    update_summary(cpu);
    return Flow::next;
}

Flow load_control(Cpu& cpu, const Instruction& i) {
    u16 value;
    if (!cpu.read_operand(i, value)) return Flow::fault;
    cpu.state.x87.control = (value & fcw_writable) | fcw_fixed;
    update_summary(cpu);
    return Flow::next;
}

Flow store_control(Cpu& cpu, const Instruction& i) {
    return cpu.write_operand(i, cpu.state.x87.control) ? Flow::next : Flow::fault;
}

Flow store_status(Cpu& cpu, const Instruction& i) {
    return cpu.write_operand(i, cpu.state.x87.status) ? Flow::next : Flow::fault;
}
Flow store_status_ax(Cpu& cpu, const Instruction&) {
    cpu.set_gpr<u16>(rax, cpu.state.x87.status);
    return Flow::next;
}

// WAIT heeds CR0.TS only together with CR0.MP, and CR0.EM not at all.
Flow wait(Cpu& cpu, const Instruction&) {
    if (cpu.mode.wait_fault) return cpu.raise(static_cast<Vector>(cpu.mode.wait_fault));
    if (cpu.state.x87.status & fsw_es) [[unlikely]]
        if (Flow flow; stopped_by_error(cpu, flow)) return flow;
    return Flow::next;
}

Flow nothing(Cpu&, const Instruction&) { return Flow::next; }

} // namespace

Handler fninit(const Form&) { return threaded<control<init>>; }
Handler fnclex(const Form&) { return threaded<control<clear_exceptions>>; }
Handler fldcw(const Form&) { return threaded<waiting<load_control>>; }
Handler fnstcw(const Form&) { return threaded<control<store_control>>; }
Handler fnstsw(const Form& f) {
    return f.memory(0) ? threaded<control<store_status>> : threaded<control<store_status_ax>>;
}
Handler fwait(const Form&) { return threaded<wait>; }
// FENI, FDISI and FSETPM of the 8087 and 80287.
Handler feni(const Form&) { return threaded<control<nothing>>; }

} // namespace calque::cpu::x87
