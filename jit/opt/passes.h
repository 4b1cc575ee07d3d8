// The passes over a unit: each in one file, each a function from a unit to a better one, each with a switch.
#pragma once

#include "jit/ir/unit.h"

namespace calque::jit {

struct Switches {
    bool check_elimination = true;
    bool flag_liveness = true;
    bool verify = false; // After translation and each pass.
};

// Accesses off the same unchanged registers share one check (ir::Window).
void share_checks(ir::Unit& unit);
// Where the flags are dead: overwritten before anything can see them.
void find_dead_flags(ir::Unit& unit);

// All of them that are on, in order; what the verifier says, when it does.
std::string run_passes(ir::Unit& unit, const Switches& switches);

} // namespace calque::jit
