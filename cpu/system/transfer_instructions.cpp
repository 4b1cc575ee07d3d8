// The instructions that transfer control far: JMP, CALL, RET, IRET, INT n and their kin.
#include "cpu/system/event.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

struct FarPointer {
    u16 selector = 0;
    u64 offset = 0;
};

bool read_far_pointer(Cpu& cpu, const Instruction& i, FarPointer& out) {
    const u64 at = effective_address(cpu.state, i);
    const bool read = with_size(i.operand_size, [&](auto t) {
        decltype(t) value = 0;
        const bool ok = cpu.read(i.segment(), at, value);
        out.offset = value;
        return ok;
    });
    return read && cpu.read(i.segment(), (at + i.operand_size) & address_mask(i.address_bytes()), out.selector);
}

// A far pointer in the instruction: selector << 32 | offset.
FarPointer immediate_pointer(const Instruction& i) {
    return {static_cast<u16>(i.immediate >> 32), static_cast<u32>(i.immediate)};
}

Flow jump_immediate(Cpu& cpu, const Instruction& i) {
    const FarPointer p = immediate_pointer(i);
    return cpu.far_jump(p.selector, p.offset, i.operand_size);
}
Flow jump_memory(Cpu& cpu, const Instruction& i) {
    FarPointer p;
    return read_far_pointer(cpu, i, p) ? cpu.far_jump(p.selector, p.offset, i.operand_size) : Flow::fault;
}
Flow call_immediate(Cpu& cpu, const Instruction& i) {
    const FarPointer p = immediate_pointer(i);
    return cpu.far_call(p.selector, p.offset, i.operand_size);
}
Flow call_memory(Cpu& cpu, const Instruction& i) {
    FarPointer p;
    return read_far_pointer(cpu, i, p) ? cpu.far_call(p.selector, p.offset, i.operand_size) : Flow::fault;
}
template <bool with_immediate> Flow return_far(Cpu& cpu, const Instruction& i) {
    return cpu.far_return(i.operand_size, with_immediate ? static_cast<u16>(i.immediate) : u16{0});
}

Flow iret(Cpu& cpu, const Instruction& i) { return cpu.interrupt_return(i.operand_size); }

Flow int_n(Cpu& cpu, const Instruction& i) { return cpu.software_interrupt(static_cast<u8>(i.immediate), false); }
Flow int3(Cpu& cpu, const Instruction&) { return cpu.software_interrupt(3, true); }
Flow into(Cpu& cpu, const Instruction&) {
    if (cpu.mode.mode64) return cpu.undefined_opcode();
    return of(cpu.state.lazy) ? cpu.software_interrupt(4, true) : Flow::next;
}
// INT1 acts as if the processor itself had raised #DB: no gate privilege is asked for, and DR6 stays.
Flow int1(Cpu& cpu, const Instruction&) {
    cpu.state.rflags &= ~flag_rf;
    SystemEvent event;
    event.vector = static_cast<u8>(Vector::debug);
    const Flow flow = deliver(cpu, event);
    if (flow == Flow::exit) cpu.suppress_single_step();
    return flow;
}

} // namespace

Handler select_jmp_far(const Form& f) { return f.any_memory() ? threaded<jump_memory> : threaded<jump_immediate>; }
Handler select_call_far(const Form& f) { return f.any_memory() ? threaded<call_memory> : threaded<call_immediate>; }
Handler select_ret_far(const Form& f) {
    return f.opcode == 0xCA ? threaded<return_far<true>> : threaded<return_far<false>>;
}
Handler select_iret(const Form&) { return threaded<iret>; }
Handler select_iretd(const Form&) { return threaded<iret>; }
Handler select_iretq(const Form&) { return threaded<iret>; }
Handler select_int(const Form&) { return threaded<int_n>; }
Handler select_int3(const Form&) { return threaded<int3>; }
Handler select_int1(const Form&) { return threaded<int1>; }
Handler select_into(const Form&) { return threaded<into>; }

} // namespace calque::cpu
