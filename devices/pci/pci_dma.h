// Guest memory as a bus master sees it: nothing while its COMMAND register does not let it on the bus.
#pragma once

#include "devices/dma.h"
#include "devices/pci/function.h"

namespace calque::devices {

class PciDma final : public DmaPort {
  public:
    PciDma(const PciFunction& function, DmaPort& memory) : function_(function), memory_(memory) {}
    bool dma_read(PhysicalAddress address, std::span<u8> data) override {
        return function_.bus_master() && memory_.dma_read(address, data);
    }
    bool dma_write(PhysicalAddress address, std::span<const u8> data) override {
        return function_.bus_master() && memory_.dma_write(address, data);
    }

  private:
    const PciFunction& function_;
    DmaPort& memory_;
};

} // namespace calque::devices
