// The software TLB: a direct-mapped table with separate read, write and execute tags, small enough in its fast path to
// be inlined.
#pragma once

#include "base/types.h"
#include "mmu/paging_context.h"

#include <vector>

namespace calque::mmu {

// A tag is the linear page address with a key in its low 12 bits; the key names the address space and the kind of
// access rights (user, supervisor, supervisor with AC) under which the entry was filled. A CR3 switch thus changes the
// key and empties nothing. A tag matches only pages that are plain memory and need no further check: anything else is
// filled as `no_tag`.
struct TlbEntry {
    u64 read_tag;
    u64 write_tag;
    u64 execute_tag;
    u64 addend; // Host address minus linear address.
};
static_assert(sizeof(TlbEntry) == 32);

inline constexpr u64 no_tag = ~u64{0}; // Its low 12 bits are a key that no context has.

// The key and table that the fast path uses now; the translator reads these fields by offset.
struct TlbView {
    TlbEntry* entries = nullptr;
    u64 mask = 0; // Number of entries minus one.
    u64 key = 0;  // 0 to 0xFFE; of the current context.

    TlbEntry& entry(u64 address) const { return entries[(address >> page_shift) & mask]; }
};

// Whether an access of `size` bytes at `address` lies in the page of `tag`, under `key`: an access that crosses into
// the next page never matches.
inline bool tag_matches(u64 tag, u64 address, unsigned size, u64 key) {
    return tag == (((address + (size - 1)) & ~page_offset_mask) | key) && ((address ^ tag) >> page_shift) == 0;
}

} // namespace calque::mmu
