// The tables of the first level, one per key: which table is whose, and what concerns several of them.
#pragma once

#include "mmu/address_spaces.h"
#include "mmu/reserved_memory.h"
#include "mmu/tlb_table.h"

#include <array>

namespace calque::mmu {

class TlbPool {
  public:
    static constexpr unsigned count = 24; // Of at most 2.4 MiB each.
    using Tables = std::array<TlbTable*, rights_modes>;

    TlbPool();

    // The tables of a key's rights modes, null where there is none; they count as used now.
    Tables find(u64 key);
    // An empty table for a mode of a key and its space. When all are in use, that which was used least recently is
    // recycled, but none of `kept`.
    TlbTable& take(u64 key, unsigned mode, u64 space, const Tables& kept);
    // Recycles the tables of one space; all tables.
    void release(u64 space);
    void release_all();

    // The table that is always empty.
    TlbTable& never() { return *tables_[count]; }
    bool is_never(const TlbTable& table) const { return &table == tables_[count]; }

    // Calls body(table) for each in use; for each of one space.
    template <class Body> void for_each(Body body) {
        for (unsigned n = 0; n < count; ++n)
            if (keys_[n] != no_key) body(*tables_[n]);
    }
    template <class Body> void for_each_of(u64 space, Body body) {
        for (unsigned n = 0; n < count; ++n)
            if (spaces_[n] == space && keys_[n] != no_key) body(*tables_[n]);
    }
    unsigned in_use() const { return in_use_; }

  private:
    static constexpr u64 no_key = ~u64{0};

    void release_one(unsigned n);

    ReservedMemory memory_;
    std::array<TlbTable*, count + 1> tables_{};
    std::array<u64, count> keys_; // The key plus the mode.
    std::array<u64, count> spaces_{};
    std::array<u64, count> used_{}; // When.
    u64 now_ = 0;
    unsigned in_use_ = 0;
};

} // namespace calque::mmu
