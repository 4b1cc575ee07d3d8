// Instructions whose immediate is written again and again while they are code: it is read each time they run.
#pragma once

#include "cpu/table.h"
#include "jit/ir/unit.h"
#include "mmu/physical_map.h"

namespace calque::jit {

// What is known of patching in the page of a unit. Without a map: nothing is patched there.
struct PatchedCode {
    const mmu::PhysicalMap* memory = nullptr;
    const u8* host = nullptr; // Of the unit's first byte.
    bool only_fields = false; // Bytes that could become fields are to stay what they are.
};

enum class Patched : u8 {
    no,      // The instruction is as its bytes are now.
    literal, // The operation reads what is patched.
    unknown, // It would have to, and cannot.
};
// The operation of the instruction at `offset` in the unit.
Patched read_patched(ir::Op& op, const cpu::Form& form, const PatchedCode& code, u32 offset);

} // namespace calque::jit
