// Level 2 of the TLB: what the walker found, whatever the privilege, so that conflicts in the first level, a change of
// mode and global pages seldom cost a walk.
#pragma once

#include "base/types.h"
#include "mmu/walker.h"

#include <array>
#include <vector>

namespace calque::mmu {

// Four-way sets of leaves, tagged by address-space number; small pages, and large ones by 2 MiB.
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
