#include "cpu/dispatch.h"

namespace calque::cpu {

// Chain records account for their block when they leave to the loop, too: it adds nothing for them.
void chain_unlinked(Cpu& cpu, const Instruction* i) {
    cpu.instructions += i->row;
    return leave(cpu, Flow::jump, i);
}

void chain_same_page(Cpu& cpu, const Instruction* i) {
    const u64 instructions = cpu.instructions + i->row;
    cpu.instructions = instructions;
    const auto* first = reinterpret_cast<const Instruction*>(i->immediate);
    if (may_go_on(cpu, instructions) && cold(first)) [[likely]]
        return enter(cpu, first);
    return leave(cpu, Flow::jump, i);
}

void chain_checked64(Cpu& cpu, const Instruction* i) {
    const u64 instructions = cpu.instructions + i->row;
    cpu.instructions = instructions;
    const auto* first = reinterpret_cast<const Instruction*>(i->immediate);
    if (may_go_on(cpu, instructions) && code_host(cpu, cpu.state.rip()) == Block::of(first).host && cold(first))
        [[likely]]
        return enter(cpu, first);
    return go_seen64(cpu, instructions, i);
}

void chain_checked(Cpu& cpu, const Instruction* i) {
    const u64 instructions = cpu.instructions + i->row;
    cpu.instructions = instructions;
    const auto* first = reinterpret_cast<const Instruction*>(i->immediate);
    const Block& target = Block::of(first);
    const SegmentRegister& code = cpu.state.segment[cs];
    const u64 rip = cpu.state.rip();
    if (may_go_on(cpu, instructions) && rip + target.bytes - 1 <= code.limit
        && code_host(cpu, static_cast<u32>(code.base + rip)) == target.host && cold(first)) [[likely]]
        return enter(cpu, first);
    return leave(cpu, Flow::jump, i);
}

void stale(Cpu& cpu, const Instruction* i) { return leave(cpu, Flow::next, i); }

} // namespace calque::cpu
