// The translated units of one vCPU: found by where they are in guest memory, linked to each other, killed when their
// bytes are written.
#pragma once

#include "jit/cache/arena.h"
#include "jit/cache/rewrite_history.h"
#include "jit/cache/target_index.h"
#include "jit/cache/unit_table.h"
#include "jit/emit/code_sites.h"
#include "jit/emit/thunks.h"
#include "mmu/tlb_layout.h"

#include <atomic>
#include <deque>
#include <optional>
#include <span>
#include <unordered_map>

namespace calque::jit {

struct UnitKey {
    u64 linear, physical, mode;
    bool movable = false; // `linear` is in the page's place (ir::Surroundings::movable).
    bool operator==(const UnitKey&) const = default;
    u64 hash() const {
        const u64 mixed = (physical ^ (linear << 20) ^ (mode * 0xC2B2AE3D27D4EB4F)) * 0x9E3779B97F4A7C15;
        return mixed ^ mixed >> 32;
    }
};

// Where an instruction that crosses a page goes on.
struct SecondPage {
    PhysicalAddress address;
    u32 bytes = 0;         // There; 0: it does not.
    mmu::ExecuteId id = 0; // The page's, less the shift of the first page.
};

struct TranslatedUnit {
    UnitKey key;
    u32 bytes = 0; // Of guest code, from there on.
    SecondPage second;
    u32 instructions = 0;
    const std::byte* code = nullptr;
    u32 code_bytes = 0;
    u32 entry_host = 0, entry_packed = 0, entry_computed = 0;
    u32 first_site = 0, sites = 0, first_exit = 0, exits = 0;
    std::vector<u32> incoming; // Exits that are linked to this unit.
    bool dead = false;
    bool region = false; // CodeCache::insert_region().

    const std::byte* at(u32 offset) const { return code + offset; }
};

struct CodeCacheCounters {
    std::atomic<u64> units{0}; // Of which other threads may ask.
    u64 guest_bytes = 0, host_bytes = 0, cold_bytes = 0, links = 0, killed = 0, flushes = 0;
};

class CodeCache {
  public:
    CodeCache(std::size_t bytes, const ThunkTargets& targets, CodeArena::Mapping mapping = CodeArena::Mapping::file);

    const Thunks& thunks() const { return thunks_; }
    std::size_t thunk_bytes() const { return static_cast<std::size_t>(first_unit_ - thunk_base_); }
    const std::byte* thunk_base() const { return thunk_base_; }
    const std::byte* thunk(u32 offset) const { return thunk_base_ + offset; }

    std::optional<u32> find(const UnitKey& key) const;
    // The unit at `linear` for code of `mode`, if its page has the execute number `page_id` (not 0), and it was entered
    // so.
    std::optional<u32> find_indexed(u64 linear, u64 mode, u32 page_id) {
        const IndexedTarget& e = index_.entry(linear);
        if (e.linear != linear || e.mode != mode || e.page_id != page_id || units_[e.unit].dead) return std::nullopt;
        return e.unit;
    }
    void enter_indexed(u32 unit, u64 linear, u32 page_id);
    const TargetIndex& index() const { return index_; }
    // Where the next unit's code will run, and the numbers that it, its sites and exits will have.
    const std::byte* next() const { return arena_.next(); }
    const std::byte* next_cold() const { return arena_.next_cold(); }
    u32 next_unit() const { return static_cast<u32>(units_.size()); }
    u32 next_site() const { return static_cast<u32>(sites_.size()); }
    u32 next_exit() const { return static_cast<u32>(exits_.size()); }
    bool full() const { return !arena_.has_room(largest_unit) || by_key_.full() || units_.size() == units_.capacity(); }
    u32 insert(const UnitKey& key, u32 bytes, u32 instructions, const EmittedUnit& emitted,
               const SecondPage& second = {});
    // A region, made of these pieces, the first of which is at the key. It takes the place of the unit that has the
    // key, and what leads there.
    u32 insert_region(const UnitKey& key, std::vector<ir::CodePiece> pieces, u32 instructions,
                      const EmittedUnit& emitted);

    TranslatedUnit& unit(u32 number) { return units_[number]; }
    const TranslatedUnit& unit(u32 number) const { return units_[number]; }
    Site& site(u32 number) { return sites_[number]; }
    Exit& exit(u32 number) { return exits_[number]; }
    const TranslatedUnit* unit_at(const void* code) const; // By a host address in it.

    // Makes `exit` lead to the unit; `page_id` is the number of the target's page (ignored within a page).
    void link(u32 exit, u32 unit, u32 page_id);
    // Kills the units that have a byte in the range: nothing leads to them any more but the TLB's target caches. They
    // are in last_killed() then.
    bool kill(PhysicalAddress address, u64 length);
    const std::vector<UnitKey>& last_killed() const { return last_killed_; }
    // See RewriteHistory::wait().
    i32 wait(PhysicalAddress address, i32 hot_after) { return history_.wait(address.value, hot_after); }
    void kill(u32 unit);
    void flush();

    const CodeCacheCounters& counters() const { return counters_; }

  private:
    static constexpr std::size_t largest_unit = std::size_t{1} << 17;
    void unlink(u32 exit);
    void forget(u32 unit);
    bool made_of(u32 unit, PhysicalAddress address, u64 length) const;
    void patch_jump(const std::byte* at, const std::byte* target);

    CodeArena arena_;
    TargetIndex index_;
    Thunks thunks_;
    const std::byte* thunk_base_ = nullptr;
    const std::byte* first_unit_ = nullptr;
    // In the order of their code; never moved.
    static constexpr std::size_t most_units = std::size_t{1} << 18;
    std::vector<TranslatedUnit, mmu::LargeAllocator<TranslatedUnit>> units_;
    std::deque<Site> sites_;
    std::deque<Exit> exits_;
    UnitTable by_key_;
    std::unordered_map<u64, std::vector<u32>> by_page_;               // By guest-physical page number.
    std::unordered_map<u32, std::vector<ir::CodePiece>> more_pieces_; // Of regions, but the first.
    std::vector<UnitKey> last_killed_;
    RewriteHistory history_;
    CodeCacheCounters counters_;
};

} // namespace calque::jit
