// A decoded instruction: all that its handler needs, in half a cache line.
#pragma once

#include "cpu/state.h"

namespace calque::cpu {

class Cpu;
struct Instruction;

// What became of an instruction.
enum class Flow : u8 {
    next,  // Go on with the following record.
    jump,  // RIP was set (or the block is to be left, with RIP at the next instruction): look up the block there.
    exit,  // As jump, and look at everything else first: events, mode, halt, a new interrupt flag.
    trap,  // An exception is pending and the instruction is complete (RIP stays): INT n, INTO, INT3, debug traps.
    fault, // An exception is pending (Cpu::raise); nothing of the instruction has happened; RIP goes back to its start.
    again, // A REP instruction stopped between iterations: RIP goes back to its start, events are looked at, it goes
           // on.
};

// The semantics of an instruction, as a plain function: while it runs, RIP is already that of the next instruction.
using Operation = Flow (*)(Cpu&, const Instruction&);
// What a record points to: runs the semantics and goes on with the next record (see cpu/threaded.h).
using Handler = void (*)(Cpu&, const Instruction*);

enum InstructionFlag : u8 {
    insn_rep = 1u << 0,   // F3
    insn_repne = 1u << 1, // F2
    insn_lock = 1u << 2,
    insn_l256 = 1u << 3, // VEX.L
    insn_vex = 1u << 4,
    insn_rex_w = 1u << 5,
    insn_mode64 = 1u << 6,        // Decoded in 64-bit mode.
    insn_stack_address = 1u << 7, // Memory operand is addressed through rSP/rBP by default (informational).
};

struct Instruction {
    Handler handler = nullptr;
    u64 immediate = 0;    // Sign- or zero-extended as the instruction wants it at 64 bits; branch displacement; far
                          // pointer as selector << 32 | offset; moffs address; ENTER: level << 16 | size.
    i32 displacement = 0; // Of the memory operand.
    u16 row = 0;          // In the instruction table (cpu/table.h).
    u8 length = 0;        // In bytes, 1 to 15.
    u8 dest =
        0; // Register number of operand 0 (with high_byte for AH...BH); of whatever class the handler knows it to be.
    u8 source = 0;        // Of operand 1.
    u8 third = 0;         // Of operand 2.
    u8 fourth = 0;        // Of operand 3 (VEX is4).
    u8 base = zero_slot;  // GPR slot of the memory operand's base (rip_slot for RIP-relative; RIP is then the next
                          // instruction's, as the encoding wants).
    u8 index = zero_slot; // GPR slot; for VSIB the vector register.
    u8 memory = 0;        // scale shift 1:0, address size 3:2 (1: 16, 2: 32, 3: 64 bits), segment 6:4.
    u8 operand_size = 0;  // Effective, in bytes: 1, 2, 4, 8 (of integer operands), 16 or 32 for vectors.
    u8 flags = 0;         // InstructionFlag.

    unsigned scale() const { return memory & 3; }
    unsigned address_bytes() const { return 1u << ((memory >> 2) & 3); }
    unsigned segment() const { return (memory >> 4) & 7; }
    static constexpr u8 pack_memory(unsigned scale, unsigned address_bytes, unsigned segment) {
        const unsigned log = address_bytes == 2 ? 1 : address_bytes == 4 ? 2 : 3;
        return static_cast<u8>(scale | (log << 2) | (segment << 4));
    }
    bool rep() const { return flags & insn_rep; }
    bool repne() const { return flags & insn_repne; }
    bool lock() const { return flags & insn_lock; }
    bool l256() const { return flags & insn_l256; }
    bool mode64() const { return flags & insn_mode64; }
};
static_assert(sizeof(Instruction) <= 32);

// Truncates an effective address to the instruction's address size.
constexpr u64 address_mask(unsigned address_bytes) {
    return address_bytes == 8 ? ~u64{0} : (u64{1} << (address_bytes * 8)) - 1;
}

// The memory operand's offset within its segment.
inline u64 effective_address(const CpuState& s, const Instruction& i) {
    const u64 sum = s.gpr[i.base] + (s.gpr[i.index] << i.scale()) + static_cast<u64>(static_cast<i64>(i.displacement));
    return i.address_bytes() == 8 ? sum : sum & address_mask(i.address_bytes());
}

} // namespace calque::cpu
