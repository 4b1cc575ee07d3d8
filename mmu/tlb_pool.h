// The tables of the first level: which are whose, and what concerns several of them. A key's tables, one for each
// rights mode, lie one behind the other, so that translated code goes from one to another by a constant distance.
#pragma once

#include "mmu/address_spaces.h"
#include "mmu/reserved_memory.h"
#include "mmu/tlb_table.h"

#include <array>

namespace calque::mmu {

class TlbPool {
  public:
    static constexpr unsigned count = 16; // Keys that have tables at one time; a table has at most 2.4 MiB.
    using Tables = std::array<TlbTable*, rights_modes>;

    // Pages of `file` can be mirrored, when there is one.
    explicit TlbPool(const RamFile& file);

    // The tables of a key, which is of `space`; `rights` tells keys apart under which a page has different ones. When
    // it has none yet and all are in use, those that were used least recently are recycled. New ones have the global
    // pages of those used last.
    Tables select(u64 key, u64 space, u64 rights = 0);
    bool has(u64 key) const;
    // Recycles the tables of one space; all tables.
    void release(u64 space);
    void release_all();

    void set_no_return(const void* code);                           // Of all tables (TlbTable::set_no_return).
    bool mirrors() const { return stride_ != tlb_mirror_distance; } // Whether there are any.
    // Puts the page of a live entry of this table, which is in use, into the mirror of its key. The number of pages
    // that came with it; 0 when that cannot be.
    // With `unused`: nothing that has been mirrored before goes for it.
    u64 mirror(TlbTable& table, u64 linear, bool unused = false);

    // The table that is always empty.
    TlbTable& never() { return *never_; }
    bool is_never(const TlbTable& table) const { return &table == never_; }

    // Calls body(table) for each in use; for each of one space.
    template <class Body> void for_each(Body body) {
        for (unsigned n = 0; n < count; ++n)
            if (keys_[n] != no_key) for_tables_of(n, body);
    }
    template <class Body> void for_each_of(u64 space, Body body) {
        for (unsigned n = 0; n < count; ++n)
            if (spaces_[n] == space && keys_[n] != no_key) for_tables_of(n, body);
    }
    unsigned in_use() const { return in_use_ * rights_modes; } // Tables.

  private:
    static constexpr u64 no_key = ~u64{0};
    // The host limits how many pieces a process may have mapped, most often to 65,530.
    static constexpr int most_mappings = 8192;

    template <class Body> void for_tables_of(unsigned n, Body body) {
        for (TlbTable* const table : tables_[n])
            body(*table);
    }
    unsigned take(u64 key, u64 space, u64 rights);
    void release_one(unsigned n);
    unsigned number_of(const TlbTable& table) const;
    void clear_mirrors();

    // For each key its tables and its mirror; at the end the table that is always empty.
    const u64 stride_;
    ReservedSpace memory_;
    ReservedMemory places_; // What is in the mirrors.
    std::array<Mirror, count> mirror_;
    int mappings_ = 0; // Of the host, in the mirrors; perhaps a few more or less.
    std::array<Tables, count> tables_{};
    TlbTable* never_ = nullptr;
    const void* no_return_ = nullptr;
    std::array<u64, count> keys_;
    std::array<u64, count> spaces_{}, rights_{};
    std::array<u64, count> used_{}; // When.
    u64 now_ = 0;
    unsigned in_use_ = 0;
};

} // namespace calque::mmu
