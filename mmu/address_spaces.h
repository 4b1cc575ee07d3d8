// Which address space and rights each key of the TLB stands for. In the second level nothing is searched or cleared
// when translations have to go: their space is forgotten, and the same one later gets a number that nothing is tagged
// with.
#pragma once

#include "base/bits.h"
#include "mmu/leaf_cache.h"
#include "mmu/paging_context.h"
#include "mmu/shadow_tables.h"

#include <array>
#include <memory>
#include <unordered_map>

namespace calque::mmu {

// The rights modes of a key. With SMAP off, `supervisor` serves for both supervisor modes.
enum class RightsMode : u8 { user, supervisor, supervisor_ac };
inline constexpr unsigned rights_modes = 3;

inline RightsMode rights_mode(const PagingContext& context, Privilege privilege) {
    if (privilege == Privilege::system) return RightsMode::supervisor;
    if (context.cpl == 3) return RightsMode::user;
    return context.ac && (context.cr4 & cr4_smap) ? RightsMode::supervisor_ac : RightsMode::supervisor;
}

class AddressSpaces {
  public:
    struct Selected {
        u64 space = 0;  // Tags level 2.
        u64 key = 0;    // Of the table of rights mode 0 in level 1; those of modes 1 and 2 follow. Never used again.
        u64 rights = 0; // What decides the rights of a leaf: the same for keys under which it has the same.
        u64 replaced = LeafCache::no_space; // A space whose place this one took.
        ShadowTables* shadow = nullptr;     // Where its translations came from; null where nobody asks.
        bool trusted = false;               // They are good for the PCID, which had this space before.
    };

    // The space and key of a context, whose PCID has that space from now on. False when the numbers of spaces have run
    // out: the caller empties both levels and calls restart(), and this again.
    bool select(const PagingContext& context, Selected& out);
    void restart();

    // Forgets one space, or every one. The space of global pages stays.
    void forget(u64 id) { spaces_.erase(id); }
    void forget_all() { spaces_.clear(); }
    // From now on the space is not trusted, until it has been selected.
    void distrust(u64 id) {
        if (const auto at = spaces_.find(id); at != spaces_.end()) at->second.distrusted = true;
    }
    // Forgets the global pages too. False: restart, as above.
    bool forget_globals();
    u64 global_space() const { return global_space_; }
    // The number of a space, or that of no space.
    u64 space_of(u64 id) const {
        const auto at = spaces_.find(id);
        return at == spaces_.end() ? LeafCache::no_space : at->second.number;
    }

    // What tells spaces apart: where the tables are, under whatever PCID. What a processor caches in SMM is kept apart:
    // it sees other memory.
    static u64 id_of(const PagingContext& context);
    static u16 pcid_of(const PagingContext& context) {
        return context.cr4 & cr4_pcide ? static_cast<u16>(context.cr3 & 0xFFF) : u16{0};
    }
    // Of the space that the PCID had last; none may have it any more.
    u64 id_of(u16 pcid) const {
        const auto at = of_pcid_.find(pcid);
        return at == of_pcid_.end() ? no_paging_id : at->second;
    }
    // Spaces that stay when another is loaded: their translations hold if their tables say the same.
    static bool shadowed(const PagingContext& context) { return (context.cr0 & cr0_pg) && !context.smm; }
    static constexpr std::size_t most_spaces = 8; // Their tables take memory.

  private:
    // What else than the PCID decides what the tables mean, and what decides the rights of a leaf.
    struct Root {
        u64 table = 0;
        u64 mode = 0;
        std::array<u64, 4> pdpte{};
        bool operator==(const Root&) const = default;
    };
    struct Policy {
        u64 bits = 0;
        u32 pkru = 0;
        bool operator==(const Policy&) const = default;
    };
    struct Keyed {
        Policy policy;
        u64 key = no_key;
    };
    struct Space {
        Root root;
        u64 number = 0;
        u64 used = 0; // When.
        bool distrusted = false;
        std::unique_ptr<ShadowTables> shadow;
        std::array<Keyed, 4> keys{}; // The latest first.
    };

    static constexpr u64 no_key = ~u64{0};
    static constexpr u64 smm_id = 1, no_paging_id = 2; // No addresses of tables.
    static constexpr u64 last_space = LeafCache::no_space - 1;

    static Root root_of(const PagingContext& context);
    static Policy policy_of(const PagingContext& context);
    u64 key_of(Space& space, const Policy& policy);
    u64 forget_least_used();

    std::unordered_map<u64, Space> spaces_; // By id.
    std::unordered_map<u16, u64> of_pcid_;  // Ids.
    u64 now_ = 0;
    u64 global_space_ = 0;
    u64 next_space_ = 1;
    u64 next_key_ = 0;
};

} // namespace calque::mmu
