// The host processor's time-stamp counter, where it runs at one rate on all processors and in all power states.
#pragma once

#include "base/types.h"

namespace calque::machine {

class HostCounter {
  public:
    // What the counter and the host's monotonic clock said at one moment.
    struct Sample {
        u64 counter = 0;
        u64 nanoseconds = 0;
    };

    static bool usable();
    static u64 now();
    static Sample sample();
};

} // namespace calque::machine
