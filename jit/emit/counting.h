// Units that count what they do, for --stats and for runs that stop at exact instruction counts.
#pragma once

#include "base/types.h"

namespace calque::jit {

enum class Counting : u8 {
    none,
    speed,   // Instructions alone, by the straight runs of them that end at a branch: for a display.
    all,     // Everything in UnitCounts.
    bounded, // Instructions and the last unit; and a unit is entered only when UnitCounts::limit leaves room for all of
             // it.
};

} // namespace calque::jit
