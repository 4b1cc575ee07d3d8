// Physical region pages: where a command's data lies in guest memory (NVMe 1.4, 4.3).
#pragma once

#include "devices/dma.h"
#include "devices/nvme/registers.h"

#include <vector>

namespace calque::devices {

class PrpList {
  public:
    // Reads the lists behind the two entries of a command. Anything but `success` is how the command ends.
    nvme::Status collect(DmaPort& dma, u64 prp1, u64 prp2, u64 length, u32 page);
    // Copies as many bytes as were asked for. False: some of it is no memory.
    bool read(DmaPort& dma, std::span<u8> data) const;
    bool write(DmaPort& dma, std::span<const u8> data) const;

  private:
    struct Part {
        u64 address, length;
    };
    void add(u64 address, u64 length);
    std::vector<Part> parts_;
};

} // namespace calque::devices
