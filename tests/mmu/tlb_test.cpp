// What a guest can tell of the TLB: flushes, keys, global pages, large pages, growth.
#include "mmu/address_spaces.h"
#include "mmu/leaf_cache.h"
#include "tests/mmu/fixture.h"

namespace calque::mmu {
namespace {

struct TlbTest : testing::Test {
    TlbTest() : tables(memory, 0x100000), mmu(memory.map, memory.log), context(long_mode(tables.root())) {
        for (u64 frame = 0; frame < 16; ++frame)
            memory.put(frame * page_size, frame);
        mmu.set_context(context);
    }
    u64 frame_at(u64 linear) {
        u64 value = 0;
        if (!mmu.load(LinearAddress(linear), value)) return ~u64{0};
        return value;
    }
    u64 frame(u64 n) const { return n * page_size | P | W; }

    Memory memory;
    LongTables tables;
    Mmu mmu;
    PagingContext context;
    static constexpr u64 page = 0xFFFF'8000'0000'0000, other_page = page + 0x1000;
    static constexpr u64 faulted = ~u64{0};
};

TEST_F(TlbTest, InvlpgDropsOnePage) {
    tables.map(page, frame(1));
    tables.map(other_page, frame(2));
    EXPECT_EQ(frame_at(page), 1u);
    EXPECT_EQ(frame_at(other_page), 2u);
    const u64 walks = mmu.counters().walks;
    tables.map(page, frame(3));
    mmu.flush_page(LinearAddress(page + 5));
    EXPECT_EQ(frame_at(page), 3u);
    EXPECT_EQ(frame_at(other_page), 2u);
    EXPECT_EQ(mmu.counters().walks, walks + 1);
}

TEST_F(TlbTest, Cr3DropsAllButGlobalPages) {
    tables.map(page, frame(1));
    tables.map(other_page, frame(2) | G);
    EXPECT_EQ(frame_at(page), 1u);
    EXPECT_EQ(frame_at(other_page), 2u);
    tables.map(page, frame(3));
    tables.map(other_page, frame(4) | G);
    mmu.load_cr3(context, false);
    EXPECT_EQ(frame_at(page), 3u);
    EXPECT_EQ(frame_at(other_page), 2u); // Kept, as the processor keeps it.
    mmu.flush_all(false);
    EXPECT_EQ(frame_at(other_page), 2u);
    mmu.flush_all(true);
    EXPECT_EQ(frame_at(other_page), 4u);
    tables.map(other_page, frame(5) | G);
    mmu.flush_page(LinearAddress(other_page));
    EXPECT_EQ(frame_at(other_page), 5u);
}

TEST_F(TlbTest, GlobalCountsOnlyWithPge) {
    context.cr4 &= ~cr4_pge;
    mmu.set_context(context);
    tables.map(page, frame(1) | G);
    EXPECT_EQ(frame_at(page), 1u);
    tables.map(page, frame(2) | G);
    mmu.load_cr3(context, false);
    EXPECT_EQ(frame_at(page), 2u);
}

TEST_F(TlbTest, PcidsKeepTheirTranslationsApart) {
    LongTables second(memory, 0x200000);
    tables.map(page, frame(1));
    second.map(page, frame(2));
    context.cr4 |= cr4_pcide;
    context.cr3 = tables.root() | 1;
    mmu.load_cr3(context, false);
    EXPECT_EQ(frame_at(page), 1u);
    PagingContext other = context;
    other.cr3 = second.root() | 2;
    mmu.load_cr3(other, false);
    EXPECT_EQ(frame_at(page), 2u);
    const u64 walks = mmu.counters().walks;
    mmu.load_cr3(context, true);
    EXPECT_EQ(frame_at(page), 1u);
    mmu.load_cr3(other, true);
    EXPECT_EQ(frame_at(page), 2u);
    EXPECT_EQ(mmu.counters().walks, walks); // All from the TLB.

    tables.map(page, frame(3)); // PCID 1's; PCID 2 is in force.
    mmu.flush_pcid_page(1, LinearAddress(page));
    mmu.load_cr3(context, true);
    EXPECT_EQ(frame_at(page), 3u);
    second.map(page, frame(4));
    mmu.flush_pcid(2);
    mmu.load_cr3(other, true);
    EXPECT_EQ(frame_at(page), 4u);
    second.map(page, frame(5));
    mmu.flush_pcid(2); // That in force.
    EXPECT_EQ(frame_at(page), 5u);
    tables.map(page, frame(6));
    mmu.load_cr3(context, false);
    EXPECT_EQ(frame_at(page), 6u);
}

// INVLPG of any address in a large page drops every 4 KiB piece of it, whether the guest knows of pieces or not.
TEST_F(TlbTest, InvlpgDropsTheWholeLargePage) {
    for (const unsigned shift : {21u, 30u}) {
        const u64 size = u64{1} << shift;
        const u64 linear = page + (u64{4} << 30) + (shift == 30 ? u64{8} << 30 : 0);
        tables.map(linear, 0 | P | W | PS, shift);
        const u64 pieces[] = {linear, linear + page_size, linear + 0x10'0000, linear + 0x1F'F000};
        for (const u64 piece : pieces)
            EXPECT_EQ(frame_at(piece), memory.get<u64>(piece - linear)) << std::hex << piece;
        tables.map(linear, 0, shift);
        mmu.flush_page(LinearAddress(linear + size - 1));
        for (const u64 piece : pieces)
            EXPECT_EQ(frame_at(piece), faulted) << std::hex << piece;
    }
}

// Large pages are noted by 4 MiB, and no more once INVLPG has dropped them: the neighbour must be noted again.
TEST_F(TlbTest, InvlpgDropsTheNeighbourThatCameBack) {
    const u64 first = page + (u64{4} << 30), second = first + 0x20'0000;
    for (const u64 linear : {first, second})
        tables.map(linear, 0 | P | W | PS, 21);
    EXPECT_EQ(frame_at(first + page_size), 1u);
    EXPECT_EQ(frame_at(second + page_size), 1u);
    mmu.flush_page(LinearAddress(first));
    EXPECT_EQ(frame_at(second + page_size), 1u);
    EXPECT_EQ(frame_at(second + 2 * page_size), memory.get<u64>(2 * page_size));
    tables.map(second, 0, 21);
    mmu.flush_page(LinearAddress(second));
    EXPECT_EQ(frame_at(second + page_size), faulted);
    EXPECT_EQ(frame_at(second + 2 * page_size), faulted);
}

// A 4 MiB page of 32-bit paging, both of whose halves are cached.
TEST_F(TlbTest, InvlpgDropsBothHalvesOf4Mib) {
    context = {};
    context.cr0 = cr0_pg | cr0_pe;
    context.cr4 = cr4_pse;
    context.cr3 = 0x3000;
    memory.put<u32>(0x3000 + 4 * 5, P | W | PS);
    mmu.load_cr3(context, false);
    EXPECT_EQ(frame_at(0x0140'1000), 1u);
    EXPECT_EQ(frame_at(0x0160'1000), memory.get<u64>(0x201000));
    memory.put<u32>(0x3000 + 4 * 5, 0);
    mmu.flush_page(LinearAddress(0x0160'0000));
    EXPECT_EQ(frame_at(0x0140'1000), faulted);
    EXPECT_EQ(frame_at(0x0160'1000), faulted);
}

TEST_F(TlbTest, LargePagesAreWalkedOnce) {
    tables.map(page, 0 | P | W | PS, 21);
    for (u64 piece = 0; piece < 512; ++piece)
        frame_at(page + piece * page_size);
    EXPECT_EQ(mmu.counters().walks, 1u);
}

// A page that was denied and has been allowed since needs no flush (SDM volume 3, 4.10.4.3).
TEST_F(TlbTest, RightsThatWereAddedAreSeenWithoutAFlush) {
    tables.map(page, 1 * page_size | P);
    EXPECT_EQ(frame_at(page), 1u);
    ASSERT_FALSE(mmu.store(LinearAddress(page), u64{0}));
    tables.map(page, 1 * page_size | P | W);
    EXPECT_TRUE(mmu.store(LinearAddress(page), u64{7}));
    EXPECT_EQ(frame_at(page), 7u);
    EXPECT_EQ(frame_at(other_page), faulted);
    tables.map(other_page, frame(2));
    EXPECT_EQ(frame_at(other_page), 2u);
}

// Nor does another frame, in whichever rights mode the old one was cached: the fault has dropped the page (SDM volume
// 3, 4.10.4.1).
TEST_F(TlbTest, AFaultDropsThePageInEveryRightsMode) {
    tables.map(page, 1 * page_size | P | U);
    context.cr0 |= cr0_wp;
    const auto at_cpl = [&](u8 cpl) {
        context.cpl = cpl;
        mmu.set_context(context);
        return frame_at(page);
    };
    EXPECT_EQ(at_cpl(0), 1u);
    EXPECT_EQ(at_cpl(3), 1u);
    EXPECT_FALSE(mmu.store(LinearAddress(page), u64{0}));
    tables.map(page, frame(3) | U);
    EXPECT_EQ(at_cpl(0), 3u);
    EXPECT_EQ(at_cpl(3), 3u);
}

TEST_F(TlbTest, WpTakesEffectBothWays) {
    tables.map(page, 1 * page_size | P);
    for (int round = 0; round < 2; ++round) {
        context.cr0 = cr0_pg | cr0_pe;
        mmu.set_context(context);
        EXPECT_TRUE(mmu.store(LinearAddress(page), u64{7}));
        context.cr0 |= cr0_wp;
        mmu.set_context(context);
        EXPECT_FALSE(mmu.store(LinearAddress(page), u64{8}));
    }
}

TEST_F(TlbTest, PkruTakesEffectAtOnce) {
    tables.map(page, 1 * page_size | P | W | U | u64{3} << 59);
    context.cr4 |= cr4_pke;
    context.cpl = 3;
    for (u32 round = 0; round < 20; ++round) { // More PKRU values than a space keeps keys for.
        context.pkru = round << 8;
        mmu.set_context(context);
        EXPECT_EQ(frame_at(page) == faulted, (context.pkru >> 6 & 1) != 0);
        context.pkru |= 1 << 6;
        mmu.set_context(context);
        EXPECT_EQ(frame_at(page), faulted);
        EXPECT_EQ(mmu.fault().error_code, pf_present | pf_user | pf_protection_key);
    }
}

TEST_F(TlbTest, PagingSwitchedOffAndOnAgain) {
    tables.map(0x1000, frame(2));
    EXPECT_EQ(frame_at(0x1000), 2u);
    mmu.set_context({});
    EXPECT_EQ(frame_at(0x1000), 1u);
    mmu.set_context(context);
    EXPECT_EQ(frame_at(0x1000), 2u);
}

TEST_F(TlbTest, GrowsWithTheWorkingSet) {
    constexpr u64 pages = 3000;
    for (u64 n = 0; n < pages; ++n)
        tables.map(page + n * page_size, frame(n & 15));
    const auto sweep = [&] {
        for (u64 n = 0; n < pages; ++n)
            ASSERT_EQ(frame_at(page + n * page_size), n & 15);
    };
    for (int round = 0; round < 4; ++round)
        sweep();
    EXPECT_GE(mmu.view().table->size(), pages);
    const MmuCounters before = mmu.counters();
    sweep();
    EXPECT_EQ(mmu.counters().fills, before.fills); // Everything fits.
    EXPECT_EQ(mmu.counters().walks, before.walks);
}

TEST_F(TlbTest, ConflictsAreServedByTheSecondLevel) {
    const u64 conflicting = page + tlb_largest * page_size;
    tables.map(page, frame(1));
    tables.map(conflicting, frame(2));
    for (int round = 0; round < 100; ++round) {
        ASSERT_EQ(frame_at(page), 1u);
        ASSERT_EQ(frame_at(conflicting), 2u);
    }
    EXPECT_EQ(mmu.counters().walks, 2u);
}

// The numbers for keys and spaces run out again and again, and nothing comes back to life.
TEST_F(TlbTest, KeysRunOut) {
    tables.map(page, frame(1));
    tables.map(other_page, frame(15) | G);
    for (u64 n = 0; n < 40000; ++n) {
        const u64 shown = n % 13 + 1;
        tables.map(page, frame(shown));
        if (n % 3)
            mmu.load_cr3(context, false);
        else
            mmu.flush_all(n % 2);
        ASSERT_EQ(frame_at(page), shown);
        ASSERT_EQ(frame_at(other_page), 15u);
    }
    EXPECT_GE(mmu.counters().restarts, 4u);
}

TEST(AddressSpaces, NoKeyIsUsedTwice) {
    AddressSpaces spaces;
    PagingContext context = long_mode(0x1000);
    context.cr4 |= cr4_pcide;
    u64 last_key = 0, selected = 0, restarts = 0;
    for (u64 n = 0; n < 10'000; ++n) {
        context.cr3 = 0x1000 | (n & 0xFFF);
        spaces.forget(AddressSpaces::id_of(context));
        AddressSpaces::Selected out;
        while (!spaces.select(context, out)) {
            EXPECT_GT(selected, 4000u);
            selected = 0;
            ++restarts;
            spaces.restart();
        }
        ++selected;
        ASSERT_TRUE(n == 0 || out.key >= last_key + rights_modes);
        last_key = out.key;
    }
    EXPECT_EQ(restarts, 2u);
}

TEST(AddressSpaces, TheLeastUsedSpaceGoesForAnother) {
    AddressSpaces spaces;
    AddressSpaces::Selected first, second, third;
    PagingContext context = long_mode(0x1001);
    context.cr4 |= cr4_pcide;
    ASSERT_TRUE(spaces.select(context, first));
    EXPECT_EQ(first.replaced, LeafCache::no_space);
    for (u64 n = 0; n < AddressSpaces::most_spaces; ++n) { // Under one PCID.
        context.cr3 += 0x1000;
        ASSERT_TRUE(spaces.select(context, second));
        EXPECT_EQ(second.replaced, n + 1 < AddressSpaces::most_spaces ? LeafCache::no_space : first.space);
    }
    EXPECT_NE(second.space, first.space);
    EXPECT_NE(second.key, first.key);
    ASSERT_TRUE(spaces.select(context, third));
    EXPECT_EQ(third.replaced, LeafCache::no_space);
    EXPECT_EQ(third.key, second.key);
}

} // namespace
} // namespace calque::mmu
