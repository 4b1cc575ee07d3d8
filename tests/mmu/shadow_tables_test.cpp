// Address spaces of a processor without PCIDs: what of them stays when CR3 is loaded.
#include "tests/mmu/fixture.h"

namespace calque::mmu {
namespace {

class ShadowTablesTest : public ::testing::Test {
  protected:
    static constexpr u64 page = 0x40'0000, neighbour = page + page_size;

    ShadowTablesTest() {
        for (u64 n = 0; n < 64; ++n)
            memory.put(frame(n), n);
        mmu.unpark();
        load(first);
    }
    ~ShadowTablesTest() override { mmu.park(); }

    static u64 frame(u64 n) { return 0x10'0000 + n * page_size; }
    static u64 entry(u64 n) { return frame(n) | P | W | U; }
    void load(LongTables& tables) { mmu.load_cr3(long_mode(tables.root()), false); }
    u64 frame_at(u64 linear) {
        u64 value = ~u64{0};
        return mmu.load(LinearAddress(linear), value) ? value : ~u64{0};
    }
    u64 walks() const { return mmu.counters().walks; }

    Memory memory{64 << 20};
    LongTables first{memory, 0x80'0000}, second{memory, 0xA0'0000};
    Mmu mmu{memory.map, memory.log};
};

TEST_F(ShadowTablesTest, WhatHasNotChangedNeedsNoWalk) {
    first.map(page, entry(1));
    second.map(page, entry(2));
    EXPECT_EQ(frame_at(page), 1u);
    load(second);
    EXPECT_EQ(frame_at(page), 2u);
    const u64 before = walks();
    for (int n = 0; n < 10; ++n) {
        load(first);
        EXPECT_EQ(frame_at(page), 1u);
        load(second);
        EXPECT_EQ(frame_at(page), 2u);
    }
    EXPECT_EQ(walks(), before);
    EXPECT_EQ(mmu.counters().spaces_verified, 20u);
}

TEST_F(ShadowTablesTest, AChangedEntryGoesAndTheOthersStay) {
    first.map(page, entry(1));
    first.map(neighbour, entry(2));
    EXPECT_EQ(frame_at(page), 1u);
    EXPECT_EQ(frame_at(neighbour), 2u);
    load(second);
    first.map(page, entry(3));
    load(first);
    const u64 before = walks();
    EXPECT_EQ(frame_at(neighbour), 2u);
    EXPECT_EQ(walks(), before);
    EXPECT_EQ(frame_at(page), 3u);
    EXPECT_EQ(walks(), before + 1);
    first.map(page, 0);
    load(first); // The same: a flush.
    EXPECT_EQ(frame_at(page), ~u64{0});
    EXPECT_EQ(frame_at(neighbour), 2u);
    EXPECT_EQ(mmu.counters().entries_changed, 2u);
}

TEST_F(ShadowTablesTest, AChangedDirectoryTakesAllBelowIt) {
    first.map(page, entry(1));
    second.map(page, entry(2));
    EXPECT_EQ(frame_at(page), 1u);
    load(second);
    EXPECT_EQ(frame_at(page), 2u);
    memory.put(first.entry(page, 21), memory.get<u64>(second.entry(page, 21)));
    load(first);
    EXPECT_EQ(frame_at(page), 2u);
}

TEST_F(ShadowTablesTest, ADirectoryThatWasWalkedThroughSinceItChanged) {
    for (const auto& [tables, n] : {std::pair(&first, 1u), std::pair(&second, 3u)}) {
        tables->map(page, entry(n));
        tables->map(neighbour, entry(n + 1));
    }
    EXPECT_EQ(frame_at(page), 1u);
    EXPECT_EQ(frame_at(neighbour), 2u);
    memory.put(first.entry(page, 21), memory.get<u64>(second.entry(page, 21)));
    mmu.flush_page(LinearAddress(page));
    EXPECT_EQ(frame_at(page), 3u); // By the new one.
    load(first);
    EXPECT_EQ(frame_at(neighbour), 4u);
}

TEST_F(ShadowTablesTest, APageThatAnotherPrivilegeWalkedToSinceItChanged) {
    first.map(page, entry(1));
    EXPECT_EQ(frame_at(page), 1u);
    mmu.set_privilege(3, false, false);
    for (u64 n = 1; n < 9; ++n) { // In the same set of the second level, which loses it.
        first.map(page + (n << 39), entry(n));
        ASSERT_EQ(frame_at(page + (n << 39)), n);
    }
    first.map(page, entry(2));
    EXPECT_EQ(frame_at(page), 2u);
    load(first); // With CPL 0.
    EXPECT_EQ(frame_at(page), 2u);
}

TEST_F(ShadowTablesTest, ARootWhoseMemoryIsUsedForAnotherOne) {
    first.map(page, entry(1));
    EXPECT_EQ(frame_at(page), 1u);
    load(second);
    for (u64 at = 0; at < page_size; at += 8)
        memory.put(first.root() + at, memory.get<u64>(second.root() + at));
    second.map(page, entry(4));
    load(first);
    EXPECT_EQ(frame_at(page), memory.get<u64>(first.root()) & P ? 4u : ~u64{0});
}

TEST_F(ShadowTablesTest, AccessedAndDirtyBitsThatWereClearedAreSetAgain) {
    first.map(page, entry(1));
    EXPECT_TRUE(mmu.store(LinearAddress(page), u64{1}));
    EXPECT_EQ(memory.get<u64>(first.entry(page)), entry(1) | A | D);
    for (const u64 cleared : {D, A | D}) {
        load(second);
        first.map(page, (entry(1) | A | D) & ~cleared);
        load(first);
        EXPECT_EQ(frame_at(page), 1u);
        EXPECT_EQ(memory.get<u64>(first.entry(page)), (entry(1) | A | D) & ~(cleared & D));
        EXPECT_TRUE(mmu.store(LinearAddress(page), u64{1}));
        EXPECT_EQ(memory.get<u64>(first.entry(page)), entry(1) | A | D);
    }
}

TEST_F(ShadowTablesTest, LargePagesThatChange) {
    first.map(page, P | W | U | PS, 21);
    memory.put(page_size, u64{77});
    memory.put((u64{2} << 20) + page_size, u64{78});
    EXPECT_EQ(frame_at(neighbour), 77u);
    load(second);
    load(first);
    EXPECT_EQ(frame_at(neighbour), 77u);
    first.map(page, (u64{2} << 20) | P | W | U | PS, 21);
    load(first);
    EXPECT_EQ(frame_at(neighbour), 78u);
}

TEST_F(ShadowTablesTest, GlobalPagesStayWhateverTheTablesSay) {
    first.map(page, entry(1) | G);
    EXPECT_EQ(frame_at(page), 1u);
    first.map(page, entry(2) | G);
    load(second);
    load(first);
    EXPECT_EQ(frame_at(page), 1u);
    mmu.flush_page(LinearAddress(page));
    EXPECT_EQ(frame_at(page), 2u);
}

TEST_F(ShadowTablesTest, MorePagesThanAreCompared) {
    constexpr u64 count = ShadowTables::most_entries + 10;
    for (u64 n = 0; n < count; ++n)
        first.map(page + n * page_size, entry(n % 64));
    for (int round = 0; round < 2; ++round) {
        for (u64 n = 0; n < count; ++n)
            ASSERT_EQ(frame_at(page + n * page_size), (n + static_cast<u64>(round)) % 64);
        load(second);
        for (u64 n = 0; n < count; ++n)
            first.map(page + n * page_size, entry((n + 1) % 64));
        load(first);
    }
}

TEST_F(ShadowTablesTest, MoreSpacesThanAreKept) {
    std::vector<std::unique_ptr<LongTables>> tables;
    for (u64 n = 0; n < 3 * AddressSpaces::most_spaces; ++n) {
        tables.push_back(std::make_unique<LongTables>(memory, 0x100'0000 + n * 0x1'0000));
        tables.back()->map(page, entry(n % 64));
    }
    for (int round = 0; round < 3; ++round)
        for (u64 n = 0; n < tables.size(); ++n) {
            load(*tables[n]);
            ASSERT_EQ(frame_at(page), n % 64);
        }
}

TEST_F(ShadowTablesTest, TablesInDeviceMemoryAreReadEachTime) {
    RecordingTarget device; // Its pattern is no present entry but where the address is odd.
    memory.map.set_regions({memory.ram_region(0, 64 << 20), io_region(0x300'0000, page_size, device)});
    mmu.serve_requests();
    load(first);
    first.map(page, 0x300'0000 | P | W | U, 21);
    const auto reads = [&] { return device.calls.size(); };
    frame_at(page);
    const auto once = reads();
    EXPECT_GT(once, 0u);
    load(second);
    load(first);
    frame_at(page);
    EXPECT_GT(reads(), once);
}

// With PCIDs: what is to be kept is not compared, what is not to be is.
TEST_F(ShadowTablesTest, PcidsKeepWhatTheySay) {
    PagingContext one = long_mode(first.root() | 1), two = long_mode(second.root() | 2);
    one.cr4 |= cr4_pcide;
    two.cr4 |= cr4_pcide;
    first.map(page, entry(1));
    first.map(neighbour, entry(9));
    mmu.load_cr3(one, false);
    EXPECT_EQ(frame_at(page), 1u);
    EXPECT_EQ(frame_at(neighbour), 9u);
    first.map(page, entry(2));
    mmu.load_cr3(two, false);
    mmu.load_cr3(one, true);
    EXPECT_EQ(frame_at(page), 1u); // As on a processor.
    const u64 before = walks();
    mmu.flush_pcid(1);
    EXPECT_EQ(frame_at(page), 2u);
    mmu.load_cr3(two, true);
    first.map(page, entry(3));
    mmu.flush_pcid(1); // Not the current one.
    mmu.load_cr3(one, true);
    EXPECT_EQ(frame_at(page), 3u);
    mmu.load_cr3(two, true);
    first.map(page, entry(4));
    two.cr3 = first.root() | 2; // That PCID has seen nothing of these tables.
    mmu.load_cr3(two, true);
    EXPECT_EQ(frame_at(page), 4u);
    EXPECT_EQ(frame_at(neighbour), 9u);
    EXPECT_EQ(walks(), before + 3);
}

// Tables of 4-byte entries, and of 8-byte ones below the PDPTE registers.
TEST_F(ShadowTablesTest, OtherKindsOfTables) {
    constexpr u64 root = 0x200'0000, directory = root + page_size, table = directory + page_size;
    for (const bool pae : {false, true}) {
        PagingContext context;
        context.cr0 = cr0_pg | cr0_pe | cr0_wp;
        context.cr4 = pae ? cr4_pae : 0;
        context.cr3 = root;
        std::memset(memory.ram.data() + root, 0, 3 * page_size);
        if (pae) {
            memory.put<u64>(root, directory | P);
            memory.put<u64>(directory + (page >> 21) * 8, table | P | W | U);
        } else {
            memory.put<u32>(root + (page >> 22) * 4, table | P | W | U);
        }
        const auto put = [&](u64 linear, u64 value) {
            if (pae)
                memory.put<u64>(table + (linear >> 12 & 511) * 8, value);
            else
                memory.put<u32>(table + (linear >> 12 & 1023) * 4, static_cast<u32>(value));
        };
        put(page, entry(5));
        put(neighbour, entry(6));
        ASSERT_TRUE(!pae || load_pdptes(memory.map, context));
        mmu.load_cr3(context, false);
        EXPECT_EQ(frame_at(page), 5u);
        EXPECT_EQ(frame_at(neighbour), 6u);
        put(page, entry(7));
        mmu.load_cr3(context, false);
        const u64 before = walks();
        EXPECT_EQ(frame_at(neighbour), 6u);
        EXPECT_EQ(walks(), before);
        EXPECT_EQ(frame_at(page), 7u);
    }
}

} // namespace
} // namespace calque::mmu
