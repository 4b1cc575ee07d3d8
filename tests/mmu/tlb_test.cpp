// The TLB's parts, and what of it a guest can tell: flushes, keys, global pages, large pages, growth.
#include "mmu/address_spaces.h"
#include "mmu/tlb.h"
#include "tests/mmu/fixture.h"

#include <random>

namespace calque::mmu {
namespace {

// tag_matches against its definition: all bytes in the page of the tag, and the same key. The tags are those that an
// entry can hold: of pages that share its index in tables of any size.
TEST(TagMatches, OnlyWithinThePageAndUnderTheKey) {
    for (const u64 entries : {u64{2}, u64{1024}, u64{65536}})
        for (const u64 page : {u64{0}, u64{0x1000}, u64{0x7FFF'FFFF'F000}, u64{0xFFFF'FFFF'FFFF'F000}})
            for (const u64 other : {u64{0}, entries * page_size, ~u64{0} * entries * page_size})
                for (const u64 tag_key : {u64{0}, u64{1}, u64{0x7FF}, u64{0xFFD}})
                    for (const u64 key : {u64{0}, u64{1}, u64{0x7FF}, u64{0xFFD}, never_key}) {
                        const u64 tag_page = page + other;
                        for (const unsigned size : {1u, 2u, 4u, 8u, 10u, 16u, 32u, 64u, 4096u})
                            for (const u64 offset : {u64{0}, u64{1}, u64{4096} - size, u64{4097} - size, u64{4095}}) {
                                const u64 address = page + (offset & 0xFFF);
                                const bool inside = (address & 0xFFF) + size <= page_size;
                                EXPECT_EQ(tag_matches(tag_page | tag_key, address, size, key),
                                          inside && tag_page == page && tag_key == key);
                                EXPECT_FALSE(tag_matches(no_tag, address, size, key));
                            }
                    }
}

TEST(LeafCache, KeepsWhatItIsGiven) {
    std::mt19937_64 random(2);
    LeafCache cache;
    for (unsigned n = 0; n < 2000; ++n) {
        static constexpr u64 sizes[] = {page_size, u64{2} << 20, u64{4} << 20, u64{1} << 30};
        Leaf leaf;
        leaf.size = sizes[random() % 4];
        const u64 linear = random();
        const u64 in_page = linear & (leaf.size == page_size ? page_size - 1 : (u64{2} << 20) - 1);
        leaf.address =
            (random() & 0xFF'FFFF'FFFF & ~((leaf.size == page_size ? page_size : u64{2} << 20) - 1)) | in_page;
        leaf.writable = random() & 1;
        leaf.user = random() & 1;
        leaf.no_execute = random() & 1;
        leaf.dirty = random() & 1;
        leaf.global = random() & 1;
        leaf.protection_key = random() & 15;
        const u64 space = random() % 0xFFF, other = (space + 1) % 0xFFF;
        cache.insert(linear, space, leaf);
        Leaf found;
        ASSERT_FALSE(cache.find(linear, other, other, found));
        ASSERT_TRUE(cache.find(linear, random() & 1 ? space : other, space, found));
        ASSERT_EQ(found.address, leaf.address);
        ASSERT_EQ(found.size, leaf.size);
        ASSERT_EQ(found.writable, leaf.writable);
        ASSERT_EQ(found.user, leaf.user);
        ASSERT_EQ(found.no_execute, leaf.no_execute);
        ASSERT_EQ(found.dirty, leaf.dirty);
        ASSERT_EQ(found.global, leaf.global);
        ASSERT_EQ(found.protection_key, leaf.protection_key);
        cache.drop_page(linear, space);
        ASSERT_FALSE(cache.find(linear, space, space, found) && leaf.size <= u64{4} << 20);
    }
}

TEST(LeafCache, GrowingKeepsTheEntries) {
    LeafCache cache;
    for (u64 page = 0; page < 256; ++page)
        cache.insert(page * page_size, 1, Leaf{.address = page * 2 * page_size});
    cache.resize(1024);
    for (u64 page = 0; page < 256; ++page) {
        Leaf found;
        ASSERT_TRUE(cache.find(page * page_size, 1, 0, found));
        ASSERT_EQ(found.address, page * 2 * page_size);
    }
}

TEST(Tlb, GrowingKeepsTheEntries) {
    Tlb tlb;
    for (u64 page = 0; page < Tlb::smallest; ++page)
        tlb.fill(page << page_shift, {page << page_shift | 5, no_tag, no_tag, page}, PhysicalAddress(page * 0x2000));
    std::size_t size = Tlb::smallest;
    while (tlb.grow()) {
        size *= 2;
        ASSERT_EQ(tlb.mask() + 1, size);
        for (u64 page = 0; page < Tlb::smallest; ++page) {
            ASSERT_EQ(tlb.entry(page << page_shift).read_tag, page << page_shift | 5);
            ASSERT_EQ(tlb.entry(page << page_shift).addend, page);
            ASSERT_EQ(tlb.physical_page(page << page_shift).value, page * 0x2000);
        }
    }
    EXPECT_EQ(size, Tlb::largest);
}

TEST(Tlb, DropsWritableEntriesOfAPhysicalPageOnly) {
    Tlb tlb;
    for (u64 page = 0; page < Tlb::smallest; ++page) {
        const u64 tag = page << page_shift | 1;
        tlb.fill(page << page_shift, {tag, tag, tag, 0}, PhysicalAddress((page % 7) << page_shift));
    }
    tlb.drop_writable(PhysicalAddress(3 << page_shift));
    for (u64 page = 0; page < Tlb::smallest; ++page) {
        EXPECT_EQ(tlb.entry(page << page_shift).write_tag == no_tag, page % 7 == 3);
        EXPECT_NE(tlb.entry(page << page_shift).read_tag, no_tag);
    }
}

// ---- What a guest can tell ----

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
    EXPECT_GE(mmu.view(Privilege::current).mask + 1, pages);
    const MmuCounters before = mmu.counters();
    sweep();
    EXPECT_EQ(mmu.counters().fills, before.fills); // Everything fits.
    EXPECT_EQ(mmu.counters().walks, before.walks);
}

TEST_F(TlbTest, ConflictsAreServedByTheSecondLevel) {
    const u64 conflicting = page + Tlb::largest * page_size;
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
    for (u64 n = 0; n < 20000; ++n) {
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

TEST(AddressSpaces, KeysAreDistinctAndInRange) {
    AddressSpaces spaces;
    PagingContext context = long_mode(0x1000);
    context.cr4 |= cr4_pcide;
    std::vector<bool> used(0x1000);
    u64 selected = 0;
    for (u64 n = 0;; ++n) {
        context.cr3 = 0x1000 | (n & 0xFFF);
        spaces.forget(static_cast<u16>(n & 0xFFF));
        AddressSpaces::Selected out;
        if (!spaces.select(context, out)) break;
        ++selected;
        for (u64 mode = 0; mode < rights_modes; ++mode) {
            ASSERT_LT(out.key + mode, never_key);
            ASSERT_FALSE(used[out.key + mode]);
            used[out.key + mode] = true;
        }
    }
    EXPECT_GT(selected, 1300u);
    spaces.restart();
    AddressSpaces::Selected out;
    EXPECT_TRUE(spaces.select(context, out));
}

} // namespace
} // namespace calque::mmu
