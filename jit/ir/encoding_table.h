// Which register file each field of an instruction names, by opcode.
#pragma once

#include "jit/ir/encoding.h"

namespace calque::jit {

enum class ImmediateKind : u8 {
    none,
    byte,
    operand, // 16 or 32 bits, by the operand size.
    full,    // 16, 32 or 64 bits, by the operand size (MOV r, imm).
    is4,     // A byte with a register number in its upper half.
};

// One opcode's fields. All zero (not even `known`): not for the re-encoder.
struct OpcodeShape {
    u8 reg : 4 = 0, rm : 4 = 0;             // FieldClass.
    u8 vvvv : 4 = 0, immediate : 4 = 0;     // FieldClass, ImmediateKind.
    bool known : 1 = false;                 //
    bool no_modrm : 1 = false;              // The opcode is the instruction.
    bool register_in_opcode : 1 = false;    // Its low three bits; no ModRM.
    bool memory_only : 1 = false;           //
    bool register_only : 1 = false;         //
    bool forms_differ : 1 = false;          // The register form is another operation than the memory form.
    bool vsib : 1 = false;                  //
    bool group : 1 = false;                 // Needs a look at the /digit.
    bool code64 : 1 = false;                // 64-bit code only.
    bool vvvv_with_register : 1 = false;    // The memory form has no vvvv.
    bool modrm_always_register : 1 = false; // Whatever its mod field says.
};

// The shape of an opcode: `vex` and `map` say where, `pp` the prefix that is part of it.
OpcodeShape opcode_shape(bool vex, unsigned map, unsigned pp, unsigned opcode);

} // namespace calque::jit
