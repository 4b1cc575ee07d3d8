// The inside of Mmu, for its own source files.
#pragma once

#include "mmu/address_spaces.h"
#include "mmu/flat_map.h"
#include "mmu/leaf_cache.h"
#include "mmu/mmu.h"
#include "mmu/rendezvous.h"
#include "mmu/tlb_pool.h"

#include <array>
#include <bitset>

namespace calque::mmu {

// Regions of address spaces. Exact, but for those that share a slot: then they cannot be removed any more.
class RegionSet {
  public:
    void add(u64 region, u64 space) {
        Slot& slot = slots_[index(region)];
        if (slot.region == none)
            slot = {region, space};
        else if (slot.region != region)
            slot.region = several;
        else if (slot.space != space)
            slot.space = several;
    }
    void remove(u64 region, u64 space) {
        Slot& slot = slots_[index(region)];
        if (slot.region == region && slot.space == space) slot.region = none;
    }
    bool maybe(u64 region, u64 space) const {
        const Slot& slot = slots_[index(region)];
        return slot.region == several || (slot.region == region && (slot.space == space || slot.space == several));
    }

  private:
    static constexpr unsigned index_bits = 12;
    static constexpr u64 none = ~u64{0}, several = none - 1;
    struct Slot {
        u64 region = none, space = 0;
    };
    static std::size_t index(u64 region) { return region * 0x9E37'79B9'7F4A'7C15 >> (64 - index_bits); }
    std::array<Slot, 1 << index_bits> slots_{};
};

// What was cached since the last flush of everything, so that INVLPG knows when it has more to do than to drop one slot
// of one space. Answers may be yes without need, never no in error.
class CachedPages {
  public:
    static constexpr std::array<u64, 2> large{u64{2} << 20, u64{4} << 20}; // 4 MiB: of 32-bit tables.
    static constexpr u64 huge = u64{1} << 30;

    // Whatever a walk found: of `space`, the one of global pages if it is global.
    void note(u64 linear, const Leaf& leaf, u64 space) {
        if (leaf.size == huge)
            huge_.set(index(linear / huge));
        else if (leaf.size != page_size)
            large_.add(region_of(linear, leaf.size), space);
        if (!leaf.global) return;
        if (leaf.size == huge)
            global_huge_.set(index(linear / huge));
        else if (leaf.size != page_size)
            global_large_.set(index(linear / large[1]));
        else
            global_.set(index(linear / page_size));
    }
    // A page of this size, one of `large`.
    bool maybe_large(u64 linear, u64 size, u64 space) const { return large_.maybe(region_of(linear, size), space); }
    // No table, nor the second level, has anything of the space's page of this size any more.
    void dropped_large(u64 linear, u64 size, u64 space) { large_.remove(region_of(linear, size), space); }
    bool maybe_huge(u64 linear) const { return huge_.test(index(linear / huge)); }
    bool maybe_global(u64 linear) const {
        return global_.test(index(linear / page_size)) || global_large_.test(index(linear / large[1]))
               || global_huge_.test(index(linear / huge));
    }
    void clear() { *this = {}; }

  private:
    static u64 region_of(u64 linear, u64 size) { return linear / size | (size == large[1] ? u64{1} << 63 : 0); }
    static constexpr unsigned index_bits = 12;
    using Set = std::bitset<1 << index_bits>;
    static std::size_t index(u64 number) { return number * 0x9E37'79B9'7F4A'7C15 >> (64 - index_bits); }
    RegionSet large_;
    Set huge_;
    Set global_, global_large_, global_huge_;
};

// One page as an access sees it: host pointers of its first byte, null where it is not plain memory.
struct Mmu::Page {
    PhysicalAddress address; // On the bus.
    u8* read_host = nullptr;
    u8* write_host = nullptr;
    bool writer_admitted = false; // Writes through write_host need not look for code.
    bool global = false;
    bool smm = false;      // Only in system management mode (SmmMemory).
    bool large = false;    // Part of a large one.
    bool has_code = false; // May be written by the guest's tables; it is only that writer_admitted is not.
};

struct Mmu::Impl final : MapObserver {
    class Member final : public RendezvousMember {
      public:
        explicit Member(Mmu& mmu) : mmu_(mmu) {}
        void kick() override {
            mmu_.requests_.store(true);
            if (mmu_.impl_->kick) mmu_.impl_->kick();
        }
        void drop_writable(PhysicalAddress page) override {
            ++mmu_.counters_.write_protects;
            mmu_.impl_->pool.for_each([&](TlbTable& table) { table.drop_writable(page); });
        }
        void drop_all_writable() override {
            mmu_.impl_->pool.for_each([](TlbTable& table) { table.drop_all_writable(); });
        }

      private:
        Mmu& mmu_;
    };

    Impl(Mmu& owner, const RamFile& file) : mmu(owner), member(std::make_shared<Member>(owner)), pool(file) {}
    void map_changed() override { mmu.request_flush_all(); }

    Mmu& mmu;
    std::shared_ptr<Member> member;
    std::function<void()> kick;
    std::atomic<bool> flush_requested{false};

    TlbPool pool;
    LeafCache leaves;
    AddressSpaces spaces;
    AddressSpaces::Selected selected;
    TlbPool::Tables tables{}; // Of the selected key.
    CachedPages cached;

    // Ids asked for lately: a new address space asks for those of all the kernel's pages again.
    struct KnownId {
        u64 linear = 0;
        const u8* host = nullptr;
        ExecuteId id = 0;
    };
    static constexpr std::size_t known_id_count = 1024;
    std::array<KnownId, known_id_count> known_ids{}; // By page number.

    std::shared_ptr<const FlatMap> flat;
    u64 flat_generation = 0;
    const FlatMap& current_map() {
        const u64 generation = mmu.map_.generation();
        if (!flat || generation != flat_generation) [[unlikely]] {
            flat_generation = generation;
            flat = mmu.map_.snapshot();
        }
        return *flat;
    }
};

} // namespace calque::mmu
