// The page walker: the guest's own tables (SDM volume 3, chapter 4).
#pragma once

#include "mmu/paging_context.h"
#include "mmu/physical_map.h"

namespace calque::mmu {

struct Translation {
    PhysicalAddress address; // Of the byte asked for.
    u64 size = page_size;    // 4 KiB, 2 MiB, 4 MiB or 1 GiB: of the mapping found.
    bool writable = false;   // By the privilege asked for, now: R/W, U/S, WP, SMAP and protection keys taken together,
    bool readable = false;   //   and the D bit set (a page that is clean is not writable yet).
    bool executable = false;
    bool global = false;
};

// What to do to the guest's tables while walking.
enum class WalkEffect : u8 {
    set_bits, // As the processor: accessed and, on writes, dirty bits, with atomic updates.
    none,     // A debugger's look.
};

// Walks for one access. On a fault, returns false and fills `fault`. With paging off the address is truncated to 32
// bits. `privilege` system means a supervisor-mode access whatever the CPL (never subject to AC's exemption: SMAP
// applies).
bool walk(PhysicalMap& map, const PagingContext& context, LinearAddress address, Access access, Privilege privilege,
          WalkEffect effect, Translation& out, Fault& fault);

// Loads the four PDPTEs from CR3 as MOV CR3 does in PAE mode. False (the cpu raises #GP) when a present one has
// reserved bits set.
bool load_pdptes(PhysicalMap& map, PagingContext& context);

// The guest's physical address width, in bits: what CPUID 80000008h says and what decides the reserved bits.
inline constexpr unsigned physical_address_bits = 40;

} // namespace calque::mmu
