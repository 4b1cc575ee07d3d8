// What is remembered about emitted code: the places where it calls out or leaves, and how to see the guest there.
#pragma once

#include "cpu/instruction.h"
#include "jit/ir/unit.h"
#include "mmu/address_spaces.h"

#include <array>
#include <memory>
#include <vector>

namespace calque::jit {

struct X87Note;

// Where the arithmetic flags are at a point in translated code.
enum class FlagsIn : u8 {
    host,   // The host's EFLAGS.
    packed, // JitContext::flags.
    recipe, // Nowhere; a FlagRecipe computes them from registers.
    dead,   // Nowhere; nobody can see them.
};

// How to compute the flags of the last operation from registers that still hold what it worked on.
struct FlagRecipe {
    enum class Kind : u8 { none, add, subtract, compare, logic, test };
    Kind kind = Kind::none;
    u8 size = 0;   // In bytes: 4 or 8.
    u8 result = 0; // Guest register: the result (add, subtract, logic), the first operand (compare, test).
    bool operand_is_register = false;
    u8 operand = 0;    // Guest register.
    i32 immediate = 0; // Else, sign-extended.

    bool operator==(const FlagRecipe&) const = default;
    bool uses(unsigned guest) const {
        return kind != Kind::none && (result == guest || (operand_is_register && operand == guest));
    }
};

// A place where one guest instruction may have to be done by its handler.
struct Site {
    u64 rip = 0;
    cpu::Instruction record;
    std::shared_ptr<const X87Note> x87_note; // What the unit has not noted yet; null: nothing.
    FlagRecipe recipe;
    u32 unit = 0;                // Index of the translated unit.
    u32 resume = 0;              // Offset in the unit's code.
    u32 trap = 0, trap_stub = 0; // Offsets: a host instruction that may raise SIGFPE, and what does it instead; or 0.
    u16 access_bytes = 0;
    FlagsIn flags = FlagsIn::packed;
    bool write : 1 = false;
    bool aligned : 1 = false;
    bool window : 1 = false;     // The check of a range: where it fails, the unit goes on without such ranges.
    bool piece : 1 = false;      // The address has to be good for the rest of its page.
    bool patched : 1 = false;    // Its immediate is what guest memory holds.
    bool x87_state : 1 = false;  // Its handler looks at the x87 state, or changes it.
    bool knows_code : 1 = false; // Goes on at code that it has looked for already, and that its store may be for.
    bool resumes : 1 = false;    // Translated code goes on behind the instruction, at `resume`.
};

// A place where translated code leaves for a known address.
struct Exit {
    u64 target = 0;
    FlagsIn flags = FlagsIn::packed;                // host or packed.
    mmu::RightsMode rights = mmu::RightsMode::user; // Of the target's mode.
    bool in_page : 1 = true;                        // The target is in the unit's own page.
    bool alone : 1 = false;                         // To the unit without shared checks there.
    bool second_page : 1 = false; // The instruction goes on in a page that is not what it was, or not known to be.
    u32 unit = 0;
    u32 jump = 0;      // Offset of the 32-bit displacement that leads to the stub, until it is linked.
    u32 stub = 0;      // Offset of the stub, which leaves to the engine.
    u32 guard_id = 0;  // Offset of the 32-bit id in the check, before `jump`, that the target's page is where it was.
    u32 linked_to = 0; // Unit number plus one, or 0.
    u32 page_id = 0;   // The number that it is linked for, unless `in_page`.
    u32 relinks = 0;   // How often it was linked while it was linked elsewhere.
};

static_assert(sizeof(Exit) <= 40); // There are hundreds of thousands of them.

struct EmittedUnit {
    bool complete = true; // Else something could not be encoded, and the code must not run.
    std::vector<u8> code;
    std::vector<u8> cold;                 // What is seldom run. Offsets are from the start of `code` all the same.
    u32 entry_host = 0, entry_packed = 0; // Offsets, for flags in EFLAGS and in the context.
    u32 entry_computed = 0;               // With packed flags and the linear address in RAX, from anywhere.
    std::vector<Site> sites;              // With numbers relative to `first_site` of the request.
    std::vector<Exit> exits;
};

} // namespace calque::jit
