// The fields of a guest instruction's encoding (SDM volume 2, chapter 2): what an emitter for x86 hosts needs to write
// it again with other operands.
#pragma once

#include "base/types.h"

#include <array>
#include <optional>
#include <span>

namespace calque::jit {

// What the number in a field of an instruction names.
enum class FieldClass : u8 {
    none,      // The field is not there, or not used; an `rm` of this class has a memory form only.
    gpr,       // General-purpose register, of whatever width.
    gpr8,      // The low byte of one, or AH, CH, DH, BH where the field's `high` is set.
    vector,    // XMM or YMM.
    mmx,       // MM0 to MM7.
    extension, // Part of the opcode ("/digit").
    other,     // Segment, control, debug register, place on the x87 stack: the host gets the guest's number.
};

inline constexpr u8 no_register = 0xFF;

enum class CodeBits : u8 { bits16, bits32, bits64 };

// What the bytes say. Forms with an implicit accumulator are given as the equal form with ModRM, so that every register
// can be replaced: 05 (ADD EAX, imm) as 81 /0, A9 as F7 /0, 91 (XCHG) as 87 /r; so are 40 to 4F of 32-bit code (as FF
// /0, /1) and 82 (as 80), which 64-bit mode has not.
struct ParsedInstruction {
    // Prefixes that belong to the operation: 66, F0, and the last of F2 and F3, each at most once. Those of the address
    // are below. Where 66 chooses the operand size, it stands for 16 bits, whatever it means in 16-bit code.
    std::array<u8, 4> legacy{};
    u8 legacy_count = 0;
    u8 segment_prefix = 0;       // 26, 2E, 36, 3E, 64 or 65, in 64-bit code only the last two; 0 for none.
    bool address_prefix = false; // 67.

    bool vex = false;
    bool w = false; // REX.W or VEX.W.
    bool l = false; // VEX.L.
    u8 pp = 0;      // VEX.pp, or the same of the legacy prefixes: 1 for 66, 2 for F3, 3 for F2 (which win over 66).
    u8 map = 0;     // 0: one byte; 1: 0F; 2: 0F 38; 3: 0F 3A.
    u8 opcode = 0;

    bool has_modrm = false;
    bool memory = false; // ModRM names memory, not a register.
    u8 modrm_reg = 0;    // 0 to 15; of a /digit 0 to 7.
    u8 modrm_rm = 0;     // 0 to 15, when a register.
    u8 vvvv = 0;         // 0 to 15.
    bool has_is4 = false;
    u8 is4 = 0; // 0 to 15: the register in the upper half of the immediate byte.
    bool register_in_opcode = false;
    u8 opcode_register = 0; // 0 to 15; its class and `high` are rm_class and rm_high.

    // The memory operand, before segment and address size: base + index * scale + displacement.
    u8 base = no_register, index = no_register; // 0 to 15 or no_register.
    u8 scale = 1;                               // 1, 2, 4, 8.
    i32 displacement = 0;
    bool rip_relative = false; // The displacement counts from the next instruction; no base, no index.
    bool vsib = false;         // The index is a vector register.

    FieldClass reg_class = FieldClass::none, rm_class = FieldClass::none;
    FieldClass vvvv_class = FieldClass::none, is4_class = FieldClass::none;
    bool reg_high = false, rm_high = false; // AH, CH, DH, BH: the field then has 0 to 3, the register it is part of.
    bool same_forms = false;                // A register `rm` does what memory with the same contents does.

    u8 immediate_bytes = 0; // 0, 1, 2, 4, 8; that of is4 counts.
    u64 immediate = 0;      // The bytes as they lie, zero-extended.
    u8 length = 0;          // Bytes of the guest instruction.

    bool operator==(const ParsedInstruction&) const = default;
};

// The instruction that `bytes` start with. Nothing where they end inside it, for bytes that are no instruction, and for
// what cannot be re-encoded: control flow, the stack, string and port instructions, moffs (A0 to A3), BCD arithmetic,
// loads of far pointers by LDS and LES, most privileged instructions, the NOPs 0F 18 to 0F 1F (which other CPUs
// have given a meaning), EVEX and XOP, and what means something else in
// 64-bit mode (of 32-bit code: ARPL, BOUND, moves of control registers, FXSAVE, XSAVE).
std::optional<ParsedInstruction> parse_instruction(std::span<const u8> bytes, CodeBits code);
inline std::optional<ParsedInstruction> parse_instruction(std::span<const u8> bytes, bool code64) {
    return parse_instruction(bytes, code64 ? CodeBits::bits64 : CodeBits::bits32);
}

} // namespace calque::jit
