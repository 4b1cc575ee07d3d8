// The passes over a unit: each in one file, each a function from a unit to a better one, each with a switch.
#pragma once

#include "jit/ir/unit.h"

namespace calque::jit {

// And what the translator may do.
struct Switches {
    bool check_elimination = true;
    bool flag_liveness = true;
    bool loop_unrolling = true;
    bool loop_heads = true;
    bool regions = true;              // Hot code is translated again, along the path that it takes (jit/regions.h).
    bool patch_fields = true;         // Immediates that the guest patches become patch fields.
    bool return_stack = true;         // Returns look there first.
    bool mirror = true;               // Accesses go to the mirror, as far as it has the pages (mmu/mirror.h).
    bool x87 = true;                  // x87 and MMX instructions on the host's unit.
    bool x87_transcendentals = false; // FSIN and its like too, whose last bit is then the host's.
    bool verify = false;              // After translation and each pass.
};

// Several rounds of a loop in one unit, of at most `longest` operations.
void unroll_loop(ir::Unit& unit, std::size_t longest);
// Where the unit's own loop goes on from round to round (ir::Unit::loop_head).
void find_loop(ir::Unit& unit);
// Accesses off the same unchanged registers share one check (ir::Window).
void share_checks(ir::Unit& unit);
// Where the flags are dead: overwritten before anything can see them.
void find_dead_flags(ir::Unit& unit);

// All of them that are on, in order; what the verifier says, when it does.
std::string run_passes(ir::Unit& unit, const Switches& switches, std::size_t longest);

} // namespace calque::jit
