// All that the guest's tables map, for whoever looks at a guest (SDM volume 3, chapter 4).
#pragma once

#include "mmu/paging_context.h"
#include "mmu/physical_map.h"

#include <functional>

namespace calque::mmu {

struct Mapping {
    u64 linear = 0; // Canonical.
    u64 physical = 0;
    u64 size = page_size; // 4 KiB, 2 MiB, 4 MiB or 1 GiB.
    // Of all levels together.
    bool writable = true, user = true, executable = true;
    // Of the leaf.
    bool global = false, dirty = false, accessed = false;

    u64 last() const { return linear + (size - 1); }
    bool same_rights(const Mapping& other) const {
        return writable == other.writable && user == other.user && executable == other.executable;
    }
};

// Calls `visit` for each page from the lowest address up, until it returns false. Entries that fault map nothing.
// Paging is on. Tables may map themselves: no more than `most` entries that are present are looked at; false: there
// were more.
bool visit_mappings(PhysicalMap& map, const PagingContext& context, u64 most,
                    const std::function<bool(const Mapping&)>& visit);

} // namespace calque::mmu
