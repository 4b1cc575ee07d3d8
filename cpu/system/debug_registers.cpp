// MOV to and from DR0 to DR7 (SDM volume 3, 17.2).
#include "cpu/system/debug_bits.h"
#include "cpu/system/handlers.h"
#include "cpu/system/rows.h"

namespace calque::cpu {

namespace {

// DR4 and DR5 are DR6 and DR7 unless CR4.DE. False: an exception is pending.
bool check_access(Cpu& cpu, unsigned& number) {
    if (number == 4 || number == 5) {
        if (cpu.state.cr4 & cr4_de) {
            cpu.undefined_opcode();
            return false;
        }
        number += 2;
    }
    if (!privileged(cpu)) {
        cpu.general_protection();
        return false;
    }
    if (cpu.state.dr[7] & dr7_gd) {
        cpu.raise_debug(dr6_bd);
        return false;
    }
    return true;
}

Flow mov_from_debug(Cpu& cpu, const Instruction& i) {
    unsigned number = i.source;
    if (number > 7) return cpu.undefined_opcode();
    if (!check_access(cpu, number)) return Flow::fault;
    const u64 value = cpu.state.dr[number];
    cpu.state.gpr[i.dest] = cpu.mode.mode64 ? value : static_cast<u32>(value);
    return Flow::next;
}

Flow mov_to_debug(Cpu& cpu, const Instruction& i) {
    unsigned number = i.dest;
    if (number > 7) return cpu.undefined_opcode();
    if (!check_access(cpu, number)) return Flow::fault;
    u64 value = cpu.state.gpr[i.source];
    if (!cpu.mode.mode64) value = static_cast<u32>(value);
    if (number >= 6 && value >> 32) return cpu.general_protection();
    if (number == 6) value = (value & dr6_writable) | dr6_ones;
    if (number == 7) value = (value & dr7_writable) | dr7_ones;
    cpu.state.dr[number] = value;
    cpu.update_slow_flag();
    return Flow::exit;
}

} // namespace

Handler select_mov_debug(const Form& f) {
    return f.is(0, OperandKind::debug) ? threaded<mov_to_debug> : threaded<mov_from_debug>;
}

} // namespace calque::cpu
