// The software TLB. Level 1 is a direct-mapped table with separate read, write and execute tags, small enough in its
// fast path to be inlined. Level 2 keeps what the walker found, whatever the privilege, so that conflicts, a change of
// mode and global pages seldom cost a walk.
#pragma once

#include "base/types.h"
#include "mmu/paging_context.h"
#include "mmu/walker.h"

#include <array>
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

inline constexpr u64 no_tag = ~u64{0};  // Its low 12 bits are a key that no view has.
inline constexpr u64 never_key = 0xFFE; // A view's key that no tag has: every access takes the slow path.

// The key and table that the fast path uses now; the translator reads these fields by offset.
struct TlbView {
    TlbEntry* entries = nullptr;
    u64 mask = 0; // Number of entries minus one; there are at least two.
    u64 key = 0;  // 0 to 0xFFE; of the current context.

    TlbEntry& entry(u64 address) const { return entries[(address >> page_shift) & mask]; }
};

// Whether an access of `size` bytes (1 to 4096) at `address` lies in the page of `tag`, under `key`, where `tag` is of
// entry(address). The page compared is the one of the last byte. An access that crosses into the next page never
// matches: the tags of an entry are of pages that share its index, and the next page has another.
inline bool tag_matches(u64 tag, u64 address, unsigned size, u64 key) {
    return tag == (((address + (size - 1)) & ~page_offset_mask) | key);
}

// Level 1: the table behind the views.
class Tlb {
  public:
    static constexpr std::size_t smallest = 1024;
    static constexpr std::size_t largest = 65536;

    Tlb() { resize(smallest); }

    TlbEntry* entries() { return entries_.data(); }
    const std::vector<TlbEntry>& table() const { return entries_; }
    u64 mask() const { return entries_.size() - 1; }
    TlbEntry& entry(u64 linear) { return entries_[index(linear)]; }
    // The guest-physical page of the entry for `linear`; of use only while one of its tags matches.
    PhysicalAddress physical_page(u64 linear) const {
        return PhysicalAddress(static_cast<u64>(pages_[index(linear)]) << page_shift);
    }

    void fill(u64 linear, const TlbEntry& entry, PhysicalAddress page);
    void clear();
    void drop_page(u64 linear);               // Under every key.
    void drop_region(u64 linear, u64 length); // Under every key; both multiples of a page.
    void drop_writable(PhysicalAddress page); // Write tags of a guest-physical page.
    void drop_all_writable();
    // Twice the entries, which keep what they hold. False at the largest size.
    bool grow();

  private:
    u64 index(u64 linear) const { return (linear >> page_shift) & mask(); }
    void resize(std::size_t size);

    std::vector<TlbEntry> entries_;
    std::vector<u32> pages_; // Guest-physical page numbers, by entry: apart, so that a search reads little memory.
};

// Level 2: four-way sets of leaves, tagged by address-space number; small pages, and large ones by 2 MiB.
class LeafCache {
  public:
    static constexpr u64 no_space = 0xFFF;

    LeafCache() { resize(128); }

    // A small or large page of either space.
    bool find(u64 linear, u64 space, u64 global_space, Leaf& out);
    void insert(u64 linear, u64 space, const Leaf& leaf);
    void clear();
    void drop_page(u64 linear, u64 space);    // Whatever its size up to 4 MiB.
    void drop_region(u64 linear, u64 length); // In every space.
    void resize(std::size_t sets);            // A power of two; keeps what there is.
    std::size_t capacity() const { return small_.size() * ways; }

  private:
    static constexpr unsigned ways = 4;
    struct Entry {
        u64 tag = ~u64{0}; // The page (or 2 MiB) number << 12 | space.
        u64 data = 0;      // Packed leaf.
    };
    using Set = std::array<Entry, ways>;
    using Sets = std::vector<Set>;

    static Set& set_of(Sets& sets, u64 number) {
        return sets[(number ^ number >> 9 ^ number >> 18) & (sets.size() - 1)];
    }
    static bool find_in(Set& set, u64 number, u64 space, u64 global_space, u64& data);
    static void insert_in(Set& set, Entry entry);
    static void drop_in(Set& set, u64 tag);

    Sets small_;
    Sets large_ = Sets(128);
};

} // namespace calque::mmu
