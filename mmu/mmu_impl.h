// The inside of Mmu, for its own source files.
#pragma once

#include "mmu/address_spaces.h"
#include "mmu/flat_map.h"
#include "mmu/mmu.h"
#include "mmu/rendezvous.h"
#include "mmu/tlb.h"

#include <bitset>

namespace calque::mmu {

// Which large pages may be cached, so that INVLPG knows when one slot is not enough. Answers may be yes without need,
// never no in error.
class LargePages {
  public:
    static constexpr u64 large = u64{4} << 20; // 2 and 4 MiB pages are kept by 4 MiB.
    static constexpr u64 huge = u64{1} << 30;

    void note(u64 linear, u64 size) {
        if (size == huge)
            huge_.set(index(linear / huge));
        else if (size != page_size)
            large_.set(index(linear / large));
    }
    bool maybe_large(u64 linear) const { return large_.test(index(linear / large)); }
    bool maybe_huge(u64 linear) const { return huge_.test(index(linear / huge)); }
    void clear() { large_.reset(), huge_.reset(); }

  private:
    static constexpr unsigned index_bits = 12;
    static std::size_t index(u64 number) { return number * 0x9E37'79B9'7F4A'7C15 >> (64 - index_bits); }
    std::bitset<1 << index_bits> large_;
    std::bitset<1 << index_bits> huge_;
};

// One page as an access sees it: host pointers of its first byte, null where it is not plain memory.
struct Mmu::Page {
    PhysicalAddress address; // On the bus.
    u8* read_host = nullptr;
    u8* write_host = nullptr;
    bool writer_admitted = false; // Writes through write_host need not look for code.
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
            mmu_.impl_->tlb.drop_writable(page);
        }
        void drop_all_writable() override { mmu_.impl_->tlb.drop_all_writable(); }

      private:
        Mmu& mmu_;
    };

    explicit Impl(Mmu& owner) : mmu(owner), member(std::make_shared<Member>(owner)) {}
    void map_changed() override { mmu.request_flush_all(); }

    Mmu& mmu;
    std::shared_ptr<Member> member;
    std::function<void()> kick;
    std::atomic<bool> flush_requested{false};

    Tlb tlb;
    LeafCache leaves;
    AddressSpaces spaces;
    AddressSpaces::Selected selected;
    LargePages large_pages;
    u64 pressure = 0; // Recent evictions, halved now and then: enough of them make the TLB grow.
    u64 fills_to_halving = 0;

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
