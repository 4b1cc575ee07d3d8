// The instruction table: every instruction once. Rows are in cpu/table/*.inc, gathered by cpu/instructions.inc, an
// X-macro list of
//
//   ROW(mnemonic, reads, writes, undefined, properties, feature, selector)
//
// for example ROW(ADC, "c", "oszapc", "", p_lockable, fpu, select_alu<Adc>). A baseline instruction has feature `fpu`.
//
// mnemonic    as Zydis names it (ZYDIS_MNEMONIC_<mnemonic>), without quotes. MOVSD and CMPSD are the SSE instructions;
// the string instructions of these names are MOVSD_STRING and CMPSD_STRING.
// reads, writes, undefined   arithmetic flags as letters of "oszapc" ("" for none); undefined ones are written as the
// silicon does properties  Property bits, or 0 feature     the weakest Feature that has the instruction (the decoder
// gates exactly, by form) selector    a function that chooses the handler for an operand form, or null for a form that
// the CPU does not have: #UD
#pragma once

#include "cpu/features.h"
#include "cpu/instruction.h"

#include <span>

namespace calque::cpu {

enum class OperandKind : u8 {
    none,
    gpr,
    memory,
    immediate,
    relative,
    far_pointer,
    segment,
    control,
    debug,
    x87,
    mmx,
    xmm,
    ymm
};

// The operand form of one decoded instruction, as selectors see it. Explicit operands only, in Intel order; sizes in
// bytes.
struct Form {
    std::array<OperandKind, 4> kind{};
    std::array<u8, 4> size{};
    u8 count = 0;
    u8 operand_size = 4; // Effective integer operand size: 1, 2, 4, 8.
    u8 address_size = 4; // 2, 4, 8.
    u8 code_bits = 32;   // 16, 32, 64.
    u8 flags = 0;        // InstructionFlag.
    bool flat = false;   // The memory operand needs no segment and no address mask: 64-bit mode, 8-byte address, not FS
                         // or GS, and no data breakpoints to look for. Cpu::read_flat() and friends then do.
    u8 opcode = 0; // The last opcode byte: tells apart what the mnemonic does not (SHL by 1, by CL, by immediate).

    bool is(unsigned n, OperandKind k) const { return n < count && kind[n] == k; }
    bool memory(unsigned n) const { return is(n, OperandKind::memory); }
    bool any_memory() const { return memory(0) || memory(1) || memory(2) || memory(3); }
};

using Selector = Handler (*)(const Form&);

enum Property : u16 {
    p_none = 0,
    p_ends_block = 1u << 0, // Control flow, mode changes, HLT, STI...: no record follows it in a block.
    p_lockable = 1u << 1,   // LOCK is allowed (with a memory destination).
    p_privileged = 1u << 2, // CPL 0 only (the handler checks).
    p_system = 1u << 3,     // Not a user-level instruction: the differential runner leaves it out.
    p_io = 1u << 4,
    p_string = 1u << 5,   // REP applies.
    p_no_fault = 1u << 6, // Cannot raise anything in its register form.
    p_relative = 1u << 7, // May have a relative target; conditional unless p_ends_block.
};

struct Row {
    std::string_view name;
    std::string_view reads, writes, undefined;
    u16 properties;
    Feature feature;
    Selector select;
};

// All rows; an Instruction's `row` indexes it.
std::span<const Row> instruction_table();

} // namespace calque::cpu
