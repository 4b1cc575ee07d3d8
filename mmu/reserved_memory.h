// Host memory that is reserved at once and committed as it is touched.
#pragma once

#include "base/types.h"

namespace calque::mmu {

class ReservedMemory {
  public:
    // `bytes` of zeros. Throws std::bad_alloc when the host has no room in its address space.
    explicit ReservedMemory(u64 bytes);
    ~ReservedMemory();
    ReservedMemory(const ReservedMemory&) = delete;
    ReservedMemory& operator=(const ReservedMemory&) = delete;

    u8* data() const { return data_; }

  private:
    u8* data_;
    u64 size_;
};

// Makes bytes of reserved memory zeros again and gives them back to the host. `start` is aligned to 64 KiB.
void discard(u8* start, u64 bytes);

} // namespace calque::mmu
