// Entries of the guest's paging structures, and the levels of each way of paging (SDM volume 3, 4.3 to 4.5).
#pragma once

#include "base/bits.h"
#include "mmu/paging_context.h"
#include "mmu/walker.h"

#include <array>

namespace calque::mmu::paging {

// Bits of paging-structure entries (SDM volume 3, tables 4-5 to 4-20).
inline constexpr u64 entry_present = u64{1} << 0;
inline constexpr u64 entry_writable = u64{1} << 1;
inline constexpr u64 entry_user = u64{1} << 2;
inline constexpr u64 entry_accessed = u64{1} << 5;
inline constexpr u64 entry_dirty = u64{1} << 6;
inline constexpr u64 entry_large = u64{1} << 7; // PS, in entries above the page table.
inline constexpr u64 entry_global = u64{1} << 8;
inline constexpr u64 entry_no_execute = u64{1} << 63;
inline constexpr unsigned entry_key_shift = 59;

constexpr u64 field(unsigned first, unsigned last) { return low_mask(last - first + 1) << first; }
inline constexpr u64 address_mask = field(12, physical_address_bits - 1);
// Bits of the address field beyond the guest's physical addresses.
inline constexpr u64 reserved_long = field(physical_address_bits, 51);
inline constexpr u64 reserved_pae = field(physical_address_bits, 62);

enum class Mode : u8 { off, bits32, pae, level4 };

inline Mode mode_of(const PagingContext& context) {
    if (!(context.cr0 & cr0_pg)) return Mode::off;
    if (!(context.cr4 & cr4_pae)) return Mode::bits32;
    return context.efer & efer_lma ? Mode::level4 : Mode::pae;
}

// One level: which address bits index its tables, and what its entries may hold.
struct Level {
    unsigned shift;
    u64 reserved;
    bool large_pages = false; // PS set makes it a leaf.
    u64 large_reserved = 0;   // Reserved besides, then.
};

// From the top down. With PSE-36, bits 20:13 of a 4 MiB page's entry are address bits 39:32, and bit 21 is reserved.
constexpr std::array<Level, 2> levels_32(const PagingContext& context) {
    return {{
        {.shift = 22, .reserved = 0, .large_pages = (context.cr4 & cr4_pse) != 0, .large_reserved = field(21, 21)},
        {.shift = 12, .reserved = 0},
    }};
}

constexpr u64 reserved_without_nx(const PagingContext& context) {
    return context.efer & efer_nxe ? 0 : entry_no_execute;
}

// Below the PDPTEs, which are registers.
constexpr std::array<Level, 2> levels_pae(const PagingContext& context) {
    const u64 reserved = reserved_pae | reserved_without_nx(context);
    return {{
        {.shift = 21, .reserved = reserved, .large_pages = true, .large_reserved = field(13, 20)},
        {.shift = 12, .reserved = reserved},
    }};
}

constexpr std::array<Level, 4> levels_4(const PagingContext& context) {
    const u64 reserved = reserved_long | reserved_without_nx(context);
    return {{
        {.shift = 39, .reserved = reserved | entry_large},
        {.shift = 30, .reserved = reserved, .large_pages = true, .large_reserved = field(13, 29)},
        {.shift = 21, .reserved = reserved, .large_pages = true, .large_reserved = field(13, 20)},
        {.shift = 12, .reserved = reserved},
    }};
}

// Where the page of a leaf begins.
template <class Entry> constexpr u64 page_of_entry(Entry entry, u64 size) {
    const u64 base = entry & address_mask & ~(size - 1);
    return sizeof(Entry) == 4 && size != page_size ? base | bits(entry, 13, 8) << 32 : base;
}

} // namespace calque::mmu::paging
