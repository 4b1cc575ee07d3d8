// A device's way into guest memory.
#pragma once

#include "base/types.h"

#include <span>

namespace calque::devices {

class DmaPort {
  public:
    virtual ~DmaPort() = default;
    // Copies between guest physical memory and `data`. False when any byte is not RAM (or, for reads, ROM): nothing is
    // promised of the rest then. Writes make translated code of the page invalid before they return.
    virtual bool dma_read(PhysicalAddress address, std::span<u8> data) = 0;
    virtual bool dma_write(PhysicalAddress address, std::span<const u8> data) = 0;
};

} // namespace calque::devices
