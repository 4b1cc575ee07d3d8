// The same guest by the interpreter and by the translator, compared at the same instructions; and where they differ,
// the unit that made the difference.
#pragma once

#include "tests/diff/boot/side.h"

namespace calque::diff {

struct LockstepOptions {
    machine::MachineConfig config;
    u64 slice = 10'000;         // Instructions between comparisons of the processors; interrupts come between slices.
    u64 memory_every = 2'000;   // Slices between comparisons of memory.
    u64 instructions = ~u64{0}; // At most.
    // For a test of all this: the how-manieth addition that is translated becomes a subtraction; 0: none.
    u64 spoil = 0;
    bool progress = false; // On standard error.
};

struct LockstepReport {
    bool equal = false;
    u64 instructions = 0, by_units = 0, units = 0;
    std::string how_it_ended; // When equal.
    std::string console, debug_console;
    std::string difference; // When not equal: what, where, and the unit.
};

Result<LockstepReport> run_lockstep(const LockstepOptions& options);

} // namespace calque::diff
