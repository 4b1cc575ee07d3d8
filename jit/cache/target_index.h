// Where translated code for a linear address is, whatever the address space: the second level behind the target cache
// of each TLB table (mmu/tlb_layout.h). Emitted code reads it (jit/emit/target_thunk.cpp).
//
// An entry holds while the current table has the entry's execute id for the page: then the page may be executed and is
// the one that the unit was made from.
#pragma once

#include "base/types.h"
#include "mmu/large_memory.h"

#include <vector>

namespace calque::jit {

struct IndexedTarget {
    u64 linear = 0;
    u64 mode = 0;               // UnitMode::key(); that of 64-bit code has 32 bits.
    const void* code = nullptr; // Its entry for packed flags.
    u32 page_id = 0;            // mmu::execute_number(); 0: an empty entry.
    u32 unit = 0;
};
static_assert(sizeof(IndexedTarget) == 32);

class TargetIndex {
  public:
    static constexpr u32 count = 131072;
    static constexpr unsigned fold = 17; // slot = (linear ^ linear >> fold) & (count - 1)

    const IndexedTarget* entries() const { return entries_.data(); }
    IndexedTarget& entry(u64 linear) { return entries_[slot(linear)]; }
    void forget(u64 linear, u32 unit) {
        IndexedTarget& e = entry(linear);
        if (e.linear == linear && e.unit == unit) e = {};
    }
    void clear() {
        for (u32 n = 0; n < count; ++n)
            entries_[n] = {};
    }

  private:
    static u32 slot(u64 linear) { return static_cast<u32>(linear ^ (linear >> fold)) & (count - 1); }
    std::vector<IndexedTarget, mmu::LargeAllocator<IndexedTarget>> entries_ =
        std::vector<IndexedTarget, mmu::LargeAllocator<IndexedTarget>>(count);
};

} // namespace calque::jit
