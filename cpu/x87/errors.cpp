// Stack faults, and how unmasked exceptions reach the program. SDM volume 1, sections 8.5.1 and 8.7; volume 3,
// section 2.5 (CR0.NE).
#include "cpu/x87/stack.h"

namespace calque::cpu::x87 {

namespace {

bool stack_fault(X87State& x, u16 c1) {
    x.status = static_cast<u16>((x.status & ~fsw_c1) | fp::kInvalid | fsw_sf | c1);
    if (invalid_masked(x)) return true;
    x.status |= fsw_es | fsw_b;
    return false;
}

} // namespace

bool underflow(X87State& x) { return stack_fault(x, 0); }
bool overflow(X87State& x) { return stack_fault(x, fsw_c1); }

void update_summary(Cpu& cpu) {
    X87State& x = cpu.state.x87;
    x.status &= static_cast<u16>(~(fsw_es | fsw_b));
    if (x.status & ~x.control & fp::kAllFlags) {
        x.status |= fsw_es | fsw_b;
    } else if (x.ferr) {
        x.ferr = false;
        cpu.platform.set_ferr(false);
    }
}

bool stopped_by_error(Cpu& cpu, Flow& flow) {
    if (cpu.state.cr0 & cr0_ne) {
        flow = cpu.raise(Vector::x87_floating_point);
        return true;
    }
    // The PC's way: FERR# raises IRQ 13, and the processor waits before this instruction until the interrupt is taken
    // or IGNNE# is asserted. The first attempt lets the interrupt in; when the instruction is tried again, it runs as
    // under IGNNE#, which the board asserts when the handler acknowledges by port F0h, so that a program which masks
    // IRQ 13 is not frozen.
    X87State& x = cpu.state.x87;
    if (x.ferr) return false;
    x.ferr = true;
    cpu.platform.set_ferr(true);
    flow = Flow::again;
    return true;
}

} // namespace calque::cpu::x87
