// Threaded dispatch: each record's handler does its work and calls the next record's handler in tail position. Where
// the compiler makes that a jump, the interpreter has no central loop; where it does not (debug builds), the depth is
// that of one block.
//
// A block ends with a record whose handler is end_of_block. The translator calls single instructions in the same way: a
// record followed by an end_of_block record.
#pragma once

#include "cpu/cpu.h"

namespace calque::cpu {

template <Operation operation> void threaded(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    const Flow flow = operation(cpu, *i);
    if (flow == Flow::next) [[likely]] {
        ++i;
        return i->handler(cpu, i);
    }
    if (flow >= Flow::fault) [[unlikely]]
        cpu.state.rip() -= i->length;
    cpu.exit_ = {flow, i};
}

// `fast` either completes with Flow::next or has changed nothing: then `slow` does the whole instruction. Without a
// slow path of its own, `fast` needs no stack frame.
template <Operation fast, Operation slow> void threaded_or(Cpu& cpu, const Instruction* i) {
    cpu.state.rip() += i->length;
    if (fast(cpu, *i) == Flow::next) [[likely]] {
        ++i;
        return i->handler(cpu, i);
    }
    cpu.state.rip() -= i->length;
    return threaded<slow>(cpu, i);
}

inline void end_of_block(Cpu& cpu, const Instruction* i) { cpu.exit_ = {Flow::next, i}; }

} // namespace calque::cpu
