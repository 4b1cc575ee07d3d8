// The TLB's parts: tables, their pool, the second level.
#include "mmu/leaf_cache.h"
#include "mmu/tlb_pool.h"
#include "tests/mmu/fixture.h"

#include <random>

namespace calque::mmu {
namespace {

// tlb_hit against its definition: all bytes in the page of the tag.
TEST(TlbHit, OnlyWithinThePage) {
    for (const u64 page : {u64{0}, u64{0x1000}, u64{0x7FFF'FFFF'F000}, u64{0xFFFF'FFFF'FFFF'F000}})
        for (const u64 other : {u64{0}, u64{0x1000}, u64{0x40'0000}, u64{1} << 32, u64{1} << 47, u64{1} << 63})
            for (const unsigned size : {1u, 2u, 4u, 8u, 10u, 16u, 32u, 64u, 4096u})
                for (const u64 offset : {u64{0}, u64{1}, u64{4096} - size, u64{4097} - size, u64{4095}}) {
                    const u64 address = page + (offset & 0xFFF);
                    const bool inside = (address & 0xFFF) + size <= page_size;
                    EXPECT_EQ(tlb_hit(page ^ other, address, size), inside && other == 0);
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

struct TableTest : testing::Test {
    TableTest() : memory(tlb_table_size), table(TlbTable::create(memory.data(), nullptr)) {}
    // A page whose host address and frame tell which it is.
    void fill(u64 linear, bool write = true) {
        table.fill(linear, {.read = true,
                            .write = write,
                            .execute = true,
                            .host = reinterpret_cast<u8*>(linear * 2),
                            .frame = PhysicalAddress(linear / 4 & ~page_offset_mask & 0xFF'FFFF'FFFF)});
    }
    bool readable(u64 linear, u64 size = 1) { return tlb_hit(table.entry(linear).read_tag, linear, size); }
    bool writable(u64 linear) { return tlb_hit(table.entry(linear).write_tag, linear, 1); }
    bool executable(u64 linear) { return tlb_hit(table.entry(linear).execute_tag, linear, 1); }
    bool any(u64 linear) { return readable(linear) || writable(linear) || executable(linear); }
    const void* target(u64 linear) {
        const TlbTarget& found = table.targets()[tlb_target_slot(linear)];
        return found.linear == linear ? found.code : nullptr;
    }
    ExecuteId id(u64 linear) { return table.execute_ids()[(linear >> page_shift) % tlb_execute_id_count]; }
    void expect_empty(u64 n) {
        for (const u64 high : {u64{0}, u64{1} << 27, u64{1} << 35, u64{1} << 36, u64{0x1'FFFF} << 35, u64{1} << 51})
            for (const u64 offset : {u64{0}, u64{1}, u64{4095}}) {
                const u64 address = (n | (high & ~(table.size() - 1))) << page_shift | offset;
                ASSERT_FALSE(any(address)) << std::hex << address;
                ASSERT_EQ(table.execute_id(address), 0u);
            }
    }

    ReservedMemory memory;
    TlbTable& table;
    static constexpr int code[4] = {};
};

// No address matches an entry that nothing was put in, whatever its high bits: of a fresh table, one that has grown,
// and one that is used again.
TEST_F(TableTest, EmptyEntriesMatchNoAddress) {
    const auto sweep = [&] {
        for (u64 n = 0; n < table.size(); ++n)
            expect_empty(n);
        for (u64 slot = 0; slot < tlb_target_count; ++slot)
            ASSERT_NE(tlb_target_slot(table.targets()[slot].linear), slot);
        ASSERT_EQ(target(0), nullptr);
    };
    sweep();
    do
        sweep();
    while (table.grow());
    for (u64 n = 0; n < 3000; ++n) {
        fill(n * 37 << page_shift);
        table.set_execute_id(n << page_shift, nullptr, 1 + static_cast<u32>(n));
        table.remember_target(n * 5, code);
    }
    table.recycle();
    EXPECT_EQ(table.size(), tlb_smallest);
    sweep();
    while (table.grow()) {
    }
    sweep(); // Nor has the part beyond the smallest size kept anything.
}

TEST_F(TableTest, APageWithoutARightDoesNotMatchForIt) {
    table.fill(0x5000, {.read = true, .write = false, .execute = false, .host = nullptr, .frame = {}});
    table.fill(0x6000, {.read = false, .write = false, .execute = true, .host = nullptr, .frame = {}});
    table.fill(0, {.read = false, .write = true, .execute = false, .host = nullptr, .frame = {}});
    EXPECT_TRUE(readable(0x5000) && !writable(0x5000) && !executable(0x5000));
    EXPECT_TRUE(!readable(0x6000) && !writable(0x6000) && executable(0x6000));
    EXPECT_TRUE(!readable(0) && writable(0) && !executable(0));
    while (table.grow()) {
        EXPECT_TRUE(readable(0x5000) && !writable(0x5000) && !executable(0x5000));
        EXPECT_TRUE(!readable(0x6000) && !writable(0x6000) && executable(0x6000));
        EXPECT_TRUE(!readable(0) && writable(0) && !executable(0));
    }
}

TEST_F(TableTest, CrossingIsNoHit) {
    fill(0x5000);
    fill(0x6000);
    for (const u64 size : {1u, 2u, 8u, 16u, 64u, 4096u}) {
        EXPECT_TRUE(readable(0x6000 - size, size));
        EXPECT_EQ(readable(0x6001 - size, size), size == 1);
    }
}

TEST_F(TableTest, GrowingKeepsTheEntries) {
    const auto linear = [](u64 n) { return n << page_shift | n * 0x123 << 32; };
    for (u64 n = 0; n < tlb_smallest; ++n)
        fill(linear(n), n % 2);
    u64 size = tlb_smallest;
    while (table.grow()) {
        size *= 2;
        ASSERT_EQ(table.size(), size);
        ASSERT_EQ(table.index_mask(), (size - 1) * sizeof(TlbEntry));
        for (u64 n = 0; n < tlb_smallest; ++n) {
            ASSERT_TRUE(readable(linear(n)));
            ASSERT_EQ(writable(linear(n)), n % 2 == 1);
            ASSERT_EQ(table.entry(linear(n)).host, linear(n) * 2);
            ASSERT_EQ(table.frame(linear(n)).value, linear(n) / 4 & ~page_offset_mask & 0xFF'FFFF'FFFF);
        }
        u64 live = 0;
        table.for_each_live([&](u64 page, const TlbEntry&) { live += page == linear(page >> page_shift & 1023); });
        ASSERT_EQ(live, tlb_smallest);
    }
    EXPECT_EQ(size, tlb_largest);
}

TEST_F(TableTest, DropsWritableEntriesOfAPhysicalPageOnly) {
    const auto put = [&](u64 n) {
        table.fill(n << page_shift, {.read = true,
                                     .write = true,
                                     .execute = true,
                                     .host = nullptr,
                                     .frame = PhysicalAddress((n % 7 | (n & 1) << 12) << page_shift)});
    };
    for (u64 n = 0; n < tlb_smallest; ++n)
        put(n);
    table.drop_writable(PhysicalAddress(3 << page_shift));
    for (u64 n = 0; n < tlb_smallest; ++n) {
        EXPECT_EQ(writable(n << page_shift), n % 7 != 3 || n % 2 == 1);
        EXPECT_TRUE(readable(n << page_shift));
    }
    table.drop_all_writable();
    for (u64 n = 0; n < tlb_smallest; ++n)
        EXPECT_FALSE(writable(n << page_shift));
    put(10);
    EXPECT_TRUE(writable(10 << page_shift));
    table.drop_writable(PhysicalAddress(3 << page_shift));
    EXPECT_FALSE(writable(10 << page_shift));
}

TEST_F(TableTest, DroppingAPageTakesItsIdAndTargetsAlong) {
    const u64 pages[] = {0x40'0000, 0x40'1000, 0x40'2000, 0x7FFF'0000'3000};
    for (u32 n = 0; n < 4; ++n) {
        fill(pages[n]);
        table.set_execute_id(pages[n], reinterpret_cast<u8*>(pages[n] * 2), n + 1);
        table.remember_target(pages[n] + 0x10 * n, code + n);
        EXPECT_EQ(table.execute_id(pages[n] + 5), n + 1);
        EXPECT_EQ(id(pages[n]), n + 1);
        EXPECT_EQ(table.execute_id(pages[n], nullptr), 0u); // Of other memory.
    }
    table.drop_page(0x40'1234);
    EXPECT_TRUE(any(pages[0]) && !any(pages[1]) && any(pages[2]) && any(pages[3]));
    EXPECT_EQ(id(pages[1]), 0u);
    EXPECT_EQ(target(pages[0]), nullptr); // Its code may go on in the next page.
    EXPECT_EQ(target(pages[1] + 0x10), nullptr);
    EXPECT_EQ(target(pages[2] + 0x20), code + 2);
    EXPECT_EQ(target(pages[3] + 0x30), code + 3);
    table.drop_region(0x40'0000, 0x40'0000);
    EXPECT_TRUE(!any(pages[0]) && !any(pages[2]) && any(pages[3]));
    EXPECT_EQ(id(pages[0]), 0u);
    EXPECT_EQ(id(pages[2]), 0u);
    EXPECT_EQ(target(pages[2] + 0x20), nullptr);
    EXPECT_EQ(table.execute_id(pages[3]), 4u);
    EXPECT_EQ(target(pages[3] + 0x30), code + 3);
    table.set_execute_id(pages[3], nullptr, 9); // It leads elsewhere now.
    EXPECT_EQ(target(pages[3] + 0x30), nullptr);
}

TEST_F(TableTest, RegionsAreDroppedAtEverySize) {
    const u64 region = u64{5} << 30;
    do {
        for (const u64 length : {u64{4} << 20, u64{1} << 30}) {
            const u64 at[] = {region - page_size, region, region + length - page_size, region + length};
            for (const u64 linear : at) { // One by one: they may share a slot.
                fill(linear);
                table.drop_region(region, length);
                EXPECT_EQ(any(linear), linear - region >= length) << std::hex << linear;
            }
        }
    } while (table.grow());
}

TEST(TlbTable, ForgettingOneTargetKeepsTheOthers) {
    ReservedMemory memory(tlb_table_size);
    TlbTable& table = TlbTable::create(memory.data(), nullptr);
    const int code = 0;
    constexpr u64 one = 0x1234'5670, other = one + 0x10;
    for (const u64 linear : {one, other})
        table.remember_target(linear, &code);
    constexpr u64 same_slot = one + tlb_target_count - 4;
    static_assert(tlb_target_slot(same_slot) == tlb_target_slot(one));
    table.forget_target(same_slot);
    EXPECT_EQ(table.targets()[tlb_target_slot(one)].linear, one);
    table.forget_target(one);
    EXPECT_NE(table.targets()[tlb_target_slot(one)].linear, one);
    EXPECT_EQ(table.targets()[tlb_target_slot(other)].linear, other);
    table.forget_targets();
    EXPECT_NE(table.targets()[tlb_target_slot(other)].linear, other);
}

TEST(TlbTable, ReturnsGoWheneverTargetsDo) {
    ReservedMemory memory(tlb_table_size);
    TlbTable& table = TlbTable::create(memory.data(), nullptr);
    const int code = 0;
    const auto note = [&] { table.returns()[tlb_return_count - 1] = {0x1234, &code}; };
    const auto noted = [&] { return table.returns()[tlb_return_count - 1].code != nullptr; };
    note();
    EXPECT_TRUE(noted());
    table.drop_page(0x5000);
    EXPECT_FALSE(noted());
    note();
    table.drop_region(0x40'0000, 0x40'0000);
    EXPECT_FALSE(noted());
    note();
    table.forget_targets();
    EXPECT_FALSE(noted());
    note();
    table.recycle();
    EXPECT_FALSE(noted());
}

TEST(TlbPool, TablesBelongToTheirKeyUntilTheyAreTaken) {
    TlbPool pool{RamFile{}};
    const auto take = [&](u64 key, u64 space) -> TlbTable& { return *pool.select(key, space)[1]; };
    const auto fill = [](TlbTable& table) {
        table.fill(0x5000, {.read = true, .write = true, .execute = true, .host = nullptr, .frame = {}});
    };
    for (u64 n = 0; n < TlbPool::count; ++n) {
        fill(take(3 * n, n / 2));
        ASSERT_EQ(pool.in_use(), (n + 1) * rights_modes);
    }
    EXPECT_TRUE(take(0, 0).holds(0x5000)); // Used again: not the oldest any more.
    const TlbPool::Tables taken = pool.select(3000, 77);
    EXPECT_FALSE(pool.has(3)); // The least recently used.
    EXPECT_FALSE(taken[1]->holds(0x5000));
    EXPECT_EQ(reinterpret_cast<u8*>(taken[1]) - reinterpret_cast<u8*>(taken[0]), tlb_table_size);
    EXPECT_EQ(reinterpret_cast<u8*>(taken[2]) - reinterpret_cast<u8*>(taken[1]), tlb_table_size);
    EXPECT_EQ(pool.select(3000, 77), taken);
    EXPECT_TRUE(take(0, 0).holds(0x5000));
    EXPECT_EQ(pool.in_use(), TlbPool::count * rights_modes);
    pool.release(1); // 6 and 9.
    EXPECT_TRUE(pool.has(0));
    EXPECT_FALSE(pool.has(6));
    EXPECT_FALSE(pool.has(9));
    EXPECT_EQ(pool.in_use(), (TlbPool::count - 2) * rights_modes);
    u64 of_space = 0;
    pool.for_each_of(4, [&](TlbTable&) { ++of_space; });
    EXPECT_EQ(of_space, 2 * rights_modes);
    pool.release_all();
    EXPECT_EQ(pool.in_use(), 0u);
}

} // namespace
} // namespace calque::mmu
