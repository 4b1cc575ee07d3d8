// The interrupt acknowledge cycle (INTA): how a processor or a local APIC asks the 8259 for its vector.
#pragma once

#include "base/types.h"

namespace calque::devices {

class InterruptAcknowledge {
  public:
    virtual ~InterruptAcknowledge() = default;
    // Runs the two INTA cycles and gives the vector. When the request has gone away, it is the spurious vector (IR7).
    // Any thread; the caller holds no lock of its own.
    virtual u8 acknowledge() = 0;
};

} // namespace calque::devices
