// The physical map as lookups see it: priorities resolved, immutable, found in at most three steps.
#pragma once

#include "mmu/physical_map.h"

#include <array>
#include <vector>

namespace calque::mmu {

// A run of addresses that behave alike. Reads come from read_host, else from read_target, else are all ones; writes go
// to write_host, else to write_target, else nowhere.
struct FlatRange {
    u64 start = 0;
    u64 last = 0; // Inclusive: the last range ends with the 64-bit space.
    u8* read_host = nullptr;
    u8* write_host = nullptr;
    IoTarget* read_target = nullptr;
    IoTarget* write_target = nullptr;

    u8* readable(u64 address) const { return read_host ? read_host + (address - start) : nullptr; }
    u8* writable(u64 address) const { return write_host ? write_host + (address - start) : nullptr; }
    // How many of `length` bytes at `address` lie inside.
    u64 clip(u64 address, u64 length) const { return length - 1 <= last - address ? length : last - address + 1; }
};

class FlatMap {
  public:
    // Whatever no region claims goes to `default_target` (may be null).
    FlatMap(const std::vector<Region>& regions, IoTarget* default_target, const SmmMemory& smm = {});

    const FlatRange& find(u64 address) const;
    // `address` is of a page. A page that several ranges share has no host memory.
    PhysicalMap::Page page(u64 address) const;
    // The page as only a processor in SMM sees it; null where it sees no other than all do.
    u8* smm_page(u64 address) const {
        return address - smm_.base.value < smm_.length ? smm_.host + (address - smm_.base.value) : nullptr;
    }
    const std::vector<FlatRange>& ranges() const { return ranges_; }

  private:
    // Slots of 1 GiB, 2 MiB and 4 KiB. A slot holds the number of the range that covers it, or that of the table below
    // it (`table`), or that of the first of the ranges that share one page (`shared`).
    using Slot = u32;
    static constexpr Slot table = 1u << 31;
    static constexpr Slot shared = 1u << 30;
    static constexpr unsigned top_bits = 40;
    using Table = std::array<Slot, 512>;

    Slot slot(u64 address) const;
    Slot build(u64 start, unsigned shift, u32 first);

    std::vector<FlatRange> ranges_;
    SmmMemory smm_;
    std::array<Slot, 1024> top_{};
    std::vector<Table> tables_;
};

} // namespace calque::mmu
