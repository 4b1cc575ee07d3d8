// Who can give the host back memory that the guest does not use.
#pragma once

#include "base/types.h"

namespace calque::devices {

class RamDiscard {
  public:
    virtual ~RamDiscard() = default;
    // The page of 4 KiB at `address` holds nothing that anybody wants: it may read as zeros. What is not RAM stays.
    // Any thread; does not wait for a vCPU.
    virtual void discard_page(PhysicalAddress address) = 0;
};

} // namespace calque::devices
