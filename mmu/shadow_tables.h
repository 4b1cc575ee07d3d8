// Level 3 of the TLB: what the guest's page tables said when an address space's translations were made of them.
//
// A processor loses translations when CR3 is loaded (all, where there are no PCIDs). Here they stay, with the table
// entries that they came from: when the address space is loaded again, each entry is compared with the guest's tables
// as they are then, and what has changed goes. That is what a load of CR3 promises, no more and no less. It takes about
// a nanosecond an entry; a walk for each page that is used again takes a hundred times as long (docs/measurements.md).
// Writes to the tables need not be watched for it, which would make each of them a slow one.
#pragma once

#include "mmu/guest_access.h"
#include "mmu/walker.h"

#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace calque::mmu {

class ShadowTables {
  public:
    // The entries that a walk for `linear` went through, ending with a leaf that is not global. False when translations
    // of that small page may be from another entry, which nobody knows any more: they have to go now. (Those by another
    // directory entry go when the address space is verified.)
    bool note(u64 linear, const WalkTrace& trace);
    // Compares. The small pages whose own entries are not what they were, and are forgotten; nothing when all of the
    // address space has to go: larger parts of it have changed, or many pages, or there is too much to compare. Good
    // until the next call.
    std::optional<std::span<const u64>> verify();
    bool empty() const { return entries_.empty() && comparable_; }

    static constexpr std::size_t most_entries = 4096, most_changed = 64;

  private:
    struct Entry {
        const u8* host;
        u64 value;
        u64 linear; // Of the first byte that it translates.
        u8 bytes, shift;
        bool same() const { return value == (bytes == sizeof(u32) ? load_guest<u32>(host) : load_guest<u64>(host)); }
        u64 key() const { return linear | shift; }
        bool only_bits_set(const Entry& later) const;
    };
    void forget(std::size_t n);
    void give_up(); // It is no longer comparable.

    std::vector<Entry> entries_;
    std::unordered_map<u64, u32> by_key_; // Where in entries_.
    std::vector<u64> changed_;
    bool comparable_ = true;
};

} // namespace calque::mmu
