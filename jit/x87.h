// The guest's x87 state (MMX registers with it) in the host's unit, while translated code runs.
//
// The state is in CpuState or in the unit, as JitContext::x87_absent says. Translated code fetches it when it comes to
// an instruction that uses it; it stays through exits, refills and handlers that do not look at it, since nothing in
// this program uses the x87 itself. It goes back before a handler that looks at it and before the interpreter goes on.
// It is only ever in the unit while FCW masks all exceptions and none is pending: translated code raises no #MF.
//
// FOP, FIP, FDP and their selectors are no part of this: the unit would have the host's. What they must be is noted as
// units go, in JitContext by their exits, or with a site (X87Note) for what happens in between.
#pragma once

#include "jit/context.h"

namespace calque::jit {

// The last x87 instruction before a site of its unit, for the registers that say so (SDM volume 1, 8.1.8).
struct X87Note {
    u64 rip = 0;
    u16 opcode = 0;
    bool has_instruction = false;                     // False: `rip` and `opcode` are those noted before.
    bool has_data = false;                            // False: so is the data pointer.
    u8 data_segment = 0;                              // cpu::Segment.
    u8 base = cpu::zero_slot, index = cpu::zero_slot; // Registers which have not changed since.
    u8 scale_shift = 0;
    u8 address_bytes = 8;
    u64 displacement = 0;
    bool relative = false; // To RIP.
};

// JitContext::x87_instruction: RIP's low 48 bits, FOP above them, and a bit that says that there is one.
inline constexpr unsigned x87_opcode_shift = 48;
inline constexpr u64 x87_instruction_noted = u64{1} << 63;
constexpr u64 pack_x87_instruction(u64 rip, u16 opcode) {
    return (rip & ((u64{1} << x87_opcode_shift) - 1)) | u64{opcode} << x87_opcode_shift | x87_instruction_noted;
}

// Takes what units have noted into the state, and forgets it. Before anything changes CS or a data segment.
void take_x87_notes(JitContext& context, cpu::CpuState& state);
void take_x87_note(const X87Note& note, u64 shift, cpu::CpuState& state);

// The state from the host's unit, if it is there, which is then as after FNINIT.
void store_x87(JitContext& context, cpu::CpuState& state);

} // namespace calque::jit
