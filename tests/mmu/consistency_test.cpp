// Random guests that edit their page tables and flush as the architecture asks: every access of the Mmu, with all its
// caches, must do what a walk of the tables as they are now would do.
#include "tests/mmu/fixture.h"

#include <map>
#include <random>

namespace calque::mmu {
namespace {

class RandomGuest {
  public:
    explicit RandomGuest(u64 seed, bool pcids)
        : random_(seed), pcids_(pcids), shared_(memory_, 0x800000), mmu_(memory_.map, memory_.log) {
        for (std::size_t n = 0; n < spaces; ++n)
            tables_.push_back(std::make_unique<LongTables>(memory_, 0x400000 + n * 0x100000));
        for (u64 at = 0; at < frames * page_size; at += 8)
            memory_.put(at, random_());
        shared_.entry(shared_base); // Makes the tables that all spaces then share.
        const u64 top = (shared_base >> 39 & 511) * 8;
        for (const auto& tables : tables_)
            memory_.put(tables->root() + top, memory_.get<u64>(shared_.root() + top));
        context_ = long_mode(0);
        context_.cr4 |= pcids ? cr4_pcide : 0;
        enter(0, false);
    }

    void step() {
        switch (random_() % 16) {
        case 0: return edit_private();
        case 1: return edit_shared();
        case 2: return switch_space();
        case 3: return change_rights();
        case 4: return mark();
        default: return access();
        }
    }
    const MmuCounters& counters() const { return mmu_.counters(); }
    u64 targets_found() const { return targets_; }

  private:
    static constexpr std::size_t spaces = 3;
    static constexpr u64 frames = 16;
    static constexpr u64 private_base = 0x40'0000, shared_base = 0xFFFF'8000'0040'0000;
    static constexpr u64 large_offset = 0x20'0000; // The 2 MiB that may be one page.

    u64 pick(u64 n) { return random_() % n; }

    // Small pages next to each other, pages that share a TLB slot, and pages of what may be a large page.
    u64 page_offset() {
        switch (pick(3)) {
        case 0: return pick(4) * page_size;
        case 1: return pick(3) * tlb_largest * page_size + pick(2) * page_size;
        default: return large_offset + (pick(2) ? pick(512) : pick(3)) * page_size;
        }
    }
    u64 random_entry(bool shared) {
        u64 entry = pick(frames) * page_size | (pick(8) ? P : 0) | (pick(3) ? W : 0) | (pick(3) ? U : 0)
                    | (pick(4) ? 0 : XD) | pick(3) << 59;
        if (shared && pick(2)) entry |= G;
        if (pick(2)) entry |= A | (pick(2) ? D : 0);
        return entry;
    }
    bool is_large(u64 linear, LongTables& tables) { return memory_.get<u64>(tables.entry(linear, 21)) & PS; }

    // Changes one entry. True when a table became a large page: more than one page is concerned then.
    bool edit(LongTables& tables, u64 linear, bool shared) {
        const bool may_be_large =
            (linear & 0x3F'FFFF) >= large_offset && (linear & ~u64{0x3F'FFFF}) % (u64{1} << 30) == 0x40'0000;
        const u64 pde = tables.entry(linear, 21);
        const bool large = memory_.get<u64>(pde) & PS;
        if (may_be_large && pick(4) == 0) {
            if (large) {
                memory_.put<u64>(pde, 0); // The next use makes a table.
            } else {
                memory_.put<u64>(pde, (random_entry(shared) & ~(u64{0xFF'FFFF'F000})) | PS);
            }
            return !large;
        }
        if (large) return false;
        tables.map(linear, random_entry(shared));
        return false;
    }

    void edit_private() {
        const std::size_t space = pick(spaces);
        const u64 linear = private_base + page_offset();
        const bool broad = edit(*tables_[space], linear, false);
        const bool here = space == space_;
        const u16 pcid = static_cast<u16>(space + 1);
        if (!pcids_) {
            // The other spaces' translations went when they were left.
            if (!here) return;
            if (broad || pick(2)) return pick(2) ? mmu_.load_cr3(context_, false) : mmu_.flush_all(pick(2));
            return mmu_.flush_page(LinearAddress(linear + pick(page_size)));
        }
        switch (pick(broad ? 2 : 4)) {
        case 0: return mmu_.flush_all(pick(2));
        case 1: return here && pick(2) ? mmu_.load_cr3(context_, false) : mmu_.flush_pcid(pcid);
        default:
            return here && pick(2) ? mmu_.flush_page(LinearAddress(linear))
                                   : mmu_.flush_pcid_page(pcid, LinearAddress(linear));
        }
    }

    void edit_shared() {
        const u64 linear = shared_base + page_offset();
        if (edit(shared_, linear, true) || pick(2)) return mmu_.flush_all(true);
        mmu_.flush_page(LinearAddress(linear)); // Global, and this space's.
        if (!pcids_) return;
        for (u16 pcid = 1; pcid <= spaces; ++pcid)
            mmu_.flush_pcid_page(pcid, LinearAddress(linear));
    }

    void enter(std::size_t space, bool keep) {
        space_ = space;
        context_.cr3 = tables_[space]->root() | (pcids_ ? space + 1 : 0);
        mmu_.load_cr3(context_, keep);
    }
    void switch_space() { enter(pick(spaces), pcids_ && pick(4) != 0); }

    void change_rights() {
        const u64 n = random_();
        context_.cpl = n & 1 ? 3 : 0;
        context_.ac = n & 2;
        if (pick(8) == 0) {
            context_.cr0 = (context_.cr0 & ~cr0_wp) | (n & 4 ? cr0_wp : 0);
            context_.cr4 = (context_.cr4 & ~(cr4_smep | cr4_smap | cr4_pke)) | (n & 8 ? cr4_smep : 0)
                           | (n & 16 ? cr4_smap : 0) | (n & 32 ? cr4_pke : 0);
        }
        if (pick(4) == 0) context_.pkru = static_cast<u32>(random_() & random_() & 0x3F);
        mmu_.set_context(context_);
    }

    void mark() {
        const PhysicalAddress at(pick(frames) * page_size + pick(page_size - 64));
        if (memory_.map.mark_code(at, 64)) memory_.map.protect_code_page(at, &mmu_);
        ASSERT_TRUE(memory_.map.code_marked(at, 64));
    }

    // What the tables say about one byte now.
    bool look(u64 linear, Access access, Privilege privilege, Translation& found, Fault& fault) {
        return walk(memory_.map, context_, LinearAddress(linear), access, privilege, WalkEffect::none, found, fault);
    }

    void access() {
        const bool shared = pick(2);
        const u64 linear = (shared ? shared_base : private_base) + page_offset()
                           + (pick(4) ? pick(page_size - 8) : page_size - pick(12));
        const Privilege privilege = pick(4) ? Privilege::current : Privilege::system;
        switch (pick(8)) {
        case 0: // A few places again and again, so that targets are met.
            if (pick(4) == 0) code_[pick(code_.size())] = linear;
            return fetch(code_[pick(code_.size())]);
        case 1: return pointer(linear, privilege);
        default: return data(linear, pick(2) ? Access::write : Access::read, privilege);
        }
    }

    void data(u64 linear, Access access, Privilege privilege) {
        constexpr unsigned size = 8;
        Translation first, second;
        Fault fault;
        const u64 last = linear + size - 1;
        const bool allowed = look(linear, access, privilege, first, fault)
                             && (linear / page_size == last / page_size
                                 || look(last & ~page_offset_mask, access, privilege, second, fault));
        u64 value = random_();
        const bool ok = access == Access::read ? mmu_.load(LinearAddress(linear), value, privilege)
                                               : mmu_.store(LinearAddress(linear), value, privilege);
        ASSERT_EQ(ok, allowed) << std::hex << linear;
        if (!ok) {
            ASSERT_EQ(mmu_.fault().address, fault.address);
            ASSERT_EQ(mmu_.fault().error_code, fault.error_code);
            return;
        }
        for (unsigned i = 0; i < size; ++i) {
            const bool crossed = (linear + i) / page_size != linear / page_size;
            const u64 at = crossed ? (second.address + (linear + i) % page_size).value : first.address.value + i;
            ASSERT_EQ(memory_.get<u8>(at), static_cast<u8>(value >> (8 * i)));
            if (access == Access::write) {
                ASSERT_FALSE(memory_.map.code_marked(PhysicalAddress(at), 1));
            }
        }
        if (access == Access::write) {
            ASSERT_TRUE(look(linear, access, privilege, first, fault));
            ASSERT_TRUE(first.writable); // The dirty bit is there.
        }
    }

    void pointer(u64 linear, Privilege privilege) {
        const Access access = pick(2) ? Access::write : Access::read;
        const u64 size = 1 + pick(64);
        if (linear % page_size + size > page_size) return;
        Translation found;
        Fault fault;
        const bool allowed = look(linear, access, privilege, found, fault);
        if (privilege == Privilege::current && pick(2)) {
            const u8* const refilled = mmu_.refill(LinearAddress(linear), size, access);
            if (!allowed) {
                ASSERT_EQ(refilled, nullptr);
            } else if (access == Access::read || !memory_.map.page_has_code(found.address)) {
                ASSERT_EQ(refilled, memory_.ram.data() + found.address.value);
            } else if (refilled != nullptr) { // Beside the code.
                ASSERT_EQ(refilled, memory_.ram.data() + found.address.value);
                for (u64 n = 0; n < size; ++n)
                    ASSERT_FALSE(memory_.map.code_marked(found.address + n, 1));
            }
        }
        const u8* const host = access == Access::write ? mmu_.host_for_write(LinearAddress(linear), size, privilege)
                                                       : mmu_.host_for_read(LinearAddress(linear), size, privilege);
        ASSERT_EQ(host, allowed ? memory_.ram.data() + found.address.value : nullptr) << std::hex << linear;
        if (!allowed) {
            ASSERT_EQ(mmu_.fault().error_code, fault.error_code);
        } else if (access == Access::write) {
            ASSERT_FALSE(memory_.map.code_marked(found.address, 1));
        }
    }

    void fetch(u64 linear) {
        Translation found;
        Fault fault;
        const bool allowed = look(linear, Access::execute, Privilege::current, found, fault);
        const u8* const host = memory_.ram.data() + found.address.value;
        if (const mmu::ExecuteId held = mmu_.view().table->execute_id(linear); held != 0) {
            ASSERT_TRUE(allowed);
            ASSERT_EQ(held, ids_.at({linear / page_size, found.address.page_number()}));
        }
        if (const TlbTarget& held = mmu_.view().table->targets()[tlb_target_slot(linear)]; held.linear == linear) {
            ASSERT_TRUE(allowed);
            ASSERT_EQ(held.code, host);
            ++targets_;
        }
        Mmu::CodePage code;
        ASSERT_EQ(mmu_.fetch(LinearAddress(linear), code), allowed) << std::hex << linear;
        if (!allowed) {
            ASSERT_EQ(mmu_.fault().error_code, fault.error_code);
            return;
        }
        ASSERT_EQ(code.address, found.address);
        ASSERT_EQ(code.host, host);
        const mmu::ExecuteId id = mmu_.execute_id(LinearAddress(linear));
        ASSERT_NE(id, 0u);
        ASSERT_EQ(ids_.try_emplace({linear / page_size, found.address.page_number()}, id).first->second, id);
        mmu_.remember_target(LinearAddress(linear), host);
    }

    std::mt19937_64 random_;
    const bool pcids_;
    Memory memory_;
    LongTables shared_;
    std::vector<std::unique_ptr<LongTables>> tables_;
    Mmu mmu_;
    PagingContext context_;
    std::size_t space_ = 0;
    std::map<std::pair<u64, u64>, ExecuteId> ids_; // By linear and physical page.
    u64 targets_ = 0;
    std::array<u64, 4> code_{private_base, private_base, shared_base, shared_base};
};

void run(bool pcids) {
    for (u64 seed = 1; seed <= 20; ++seed) {
        RandomGuest guest(seed, pcids);
        for (unsigned n = 0; n < 20000; ++n) {
            guest.step();
            ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed << ", step " << n;
        }
        EXPECT_GT(guest.counters().second_hits, 100u);
        EXPECT_GT(guest.counters().walks, 100u);
        EXPECT_GT(guest.counters().fills, 100u);
        EXPECT_GT(guest.targets_found(), 10u);
    }
}

TEST(Consistency, RandomGuestsWithPcids) { run(true); }
TEST(Consistency, RandomGuestsWithoutPcids) { run(false); }

} // namespace
} // namespace calque::mmu
