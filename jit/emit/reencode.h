// Guest x86 instructions as host instructions: the same operation, with other registers and another memory operand.
//
// The bytes are read into the fields of the encoding (SDM volume 2, chapter 2), a table says which register file each
// field names, and the fields are written again with host registers in them. Guest code has 32 or 64 bits; what is
// written is for 64-bit mode, with the operand sizes of the source.
//
// Nothing here checks that an instruction exists, takes LOCK, or is in the guest's CPUID: hand over what the decoder
// has found valid. Implicit operands (CL of a shift, RAX and RDX of MUL, XMM0 of BLENDVPS, RDI of MASKMOVDQU, the
// flags) stay what they are.
#pragma once

#include "jit/ir/encoding.h"

#include <optional>
#include <span>

namespace calque::jit {

// What takes the place of the guest's registers and memory operand. Where the instruction has no such field, or one of
// class `extension` or `other`, the number is ignored.
struct HostOperands {
    u8 reg = 0, rm = 0, vvvv = 0, is4 = 0, opcode_register = 0; // 0 to 15; of MMX 0 to 7.
    struct Memory {
        u8 base = no_register;  // 0 to 15; no_register for an absolute address, the displacement.
        u8 index = no_register; // Never RSP (4), except as a vector register, which an instruction with vsib must have.
        u8 scale_shift = 0;     // 0 to 3.
        i32 displacement = 0;
    } memory;
};

// Writes the instruction with these operands and returns its length. 0 when it cannot be had: the index is RSP, or a
// high byte register (reg_high, rm_high) meets a host register above RBX in its own place or needs no REX where another
// operand needs one. Callers then put the byte in the low end of a register and clear the flag.
unsigned encode_instruction(const ParsedInstruction& instruction, const HostOperands& host, std::span<u8, 16> out);

// Makes the memory operand a register, where that does the same with a value loaded into it (or stored from it
// afterwards), and says whether it could. The register's bits beyond the memory operand's size are not read. False
// under LOCK too, for XCHG, and for bit strings (BT m, r), whose memory operand is not where its address points. That
// legacy SSE wants 16-byte operands aligned is the caller's to check, who does the load.
bool with_register_form(ParsedInstruction& instruction, u8 rm);

} // namespace calque::jit
