// Where a command's data lies in guest memory: a walk through its physical region descriptor table (AHCI 1.3.1, 4.2.3).
#pragma once

#include "base/archive.h"
#include "devices/ata/ata_drive.h"
#include "devices/dma.h"

namespace calque::devices {

class PrdWalk {
  public:
    PrdWalk() = default;
    PrdWalk(u64 table, u16 entries) : table_(table), entries_(entries) {}

    DmaOutcome transfer(DmaPort& dma, std::span<u8> bytes, bool to_memory);
    u32 moved() const { return moved_; } // PRDBC.
    bool take_interrupt() {              // A region that asked for it is done.
        return std::exchange(interrupt_, false);
    }
    void serialize(Archive& archive);

  private:
    bool next(DmaPort& dma);

    u64 table_ = 0;
    u16 entries_ = 0;
    u32 index_ = 0; // The next descriptor.
    u64 address_ = 0;
    u32 left_ = 0;
    u32 moved_ = 0;
    bool wants_interrupt_ = false, interrupt_ = false;
};

} // namespace calque::devices
