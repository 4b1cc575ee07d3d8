// The page walker: the guest's own tables (SDM volume 3, chapter 4).
#pragma once

#include "mmu/paging_context.h"
#include "mmu/physical_map.h"

#include <array>

namespace calque::mmu {

struct Translation {
    PhysicalAddress address; // Of the byte asked for, as it is on the bus (A20 applied).
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
// applies). The address must be canonical where 4-level paging is on; the bits above 47 are not looked at.
bool walk(PhysicalMap& map, const PagingContext& context, LinearAddress address, Access access, Privilege privilege,
          WalkEffect effect, Translation& out, Fault& fault);

// Loads the four PDPTEs from CR3 as MOV CR3 does in PAE mode. False (the cpu raises #GP) when a present one has
// reserved bits set; the context is unchanged then.
bool load_pdptes(PhysicalMap& map, PagingContext& context);

// The guest's physical address width, in bits: what CPUID 80000008h says and what decides the reserved bits.
inline constexpr unsigned physical_address_bits = 40;

// What the tables say about one page, whoever asks: what a TLB keeps.
struct Leaf {
    u64 address = 0; // Of the byte asked for, as it is on the bus.
    u64 size = page_size;
    bool writable = true; // R/W at every level.
    bool user = true;     // U/S at every level.
    bool no_execute = false;
    bool dirty = true;
    bool global = false; // Set in the leaf, and CR4.PGE.
    u8 protection_key = 0;
};

// What a privilege may do with a page under a context (SDM volume 3, 4.6), the dirty bit left aside.
struct Rights {
    bool read = true;
    bool write = true;
    bool execute = true;

    bool allow(Access access) const {
        return access == Access::read ? read : access == Access::write ? write : execute;
    }
};
Rights rights_of(const Leaf& leaf, const PagingContext& context, Privilege privilege);

// The entries that a walk went through, the leaf's last, as it left them.
class WalkTrace {
  public:
    struct Step {
        const u8* host = nullptr; // Null: not in plain memory.
        u64 entry = 0;
        u8 bytes = 0; // Of the entry.
        u8 shift = 0; // It translates this many bits.
    };
    const Step* begin() const { return steps_.data(); }
    const Step* end() const { return steps_.data() + count_; }
    void add(const Step& step) { steps_[count_++] = step; }
    void clear() { count_ = 0; }

  private:
    std::array<Step, 4> steps_;
    unsigned count_ = 0;
};

// walk() with the map's snapshot at hand, and before rights are made of it.
bool walk_to_leaf(PhysicalMap& map, const FlatMap& flat, const PagingContext& context, LinearAddress address,
                  Access access, Privilege privilege, WalkEffect effect, Leaf& out, Fault& fault,
                  WalkTrace* trace = nullptr);

// True in 64-bit mode and its compatibility submode: linear addresses have 64 bits, of which 48 are translated.
inline bool long_addresses(const PagingContext& context) { return context.efer & efer_lma; }
inline bool canonical(u64 address) {
    const u64 top = address >> 47;
    return top == 0 || top == 0x1FFFF;
}

} // namespace calque::mmu
