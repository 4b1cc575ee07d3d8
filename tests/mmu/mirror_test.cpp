// The mirror: what TLB tables say of it, and that it shows the guest's memory.
#include "mmu/guest_ram.h"
#include "mmu/tlb_pool.h"

#include <cstring>
#include <gtest/gtest.h>

namespace calque::mmu {
namespace {

constexpr u64 ram_size = 16 << 20;
constexpr u64 page_a = 0x7FFF'1234'5000, page_b = 0x5555'0000'7000;

class MirrorTest : public testing::Test {
  protected:
    void SetUp() override {
        if (!pool.mirrors()) GTEST_SKIP() << "a host without translated code";
    }
    u8* ram_page(u64 n) { return ram.data() + n * page_size; }
    void fill(TlbTable& table, u64 linear, u64 n, bool write = true) {
        table.fill(linear, {.read = true,
                            .write = write,
                            .execute = false,
                            .host = ram_page(n),
                            .frame = PhysicalAddress(n * page_size)});
    }
    static bool hit(TlbTable& table, const u64* tags, u64 linear) {
        return tlb_hit(tags[(linear >> page_shift) & (table.size() - 1)], linear, 1);
    }
    static bool reads(TlbTable& table, u64 linear) { return hit(table, table.mirrored_read(), linear); }
    static bool writes(TlbTable& table, u64 linear) { return hit(table, table.mirrored_write(), linear); }
    // Where translated code finds a byte.
    u8* seen(u64 linear) const {
        return reinterpret_cast<u8*>(tables[0]) + tlb_mirror_distance + static_cast<u32>(linear);
    }

    GuestRam ram = std::move(GuestRam::create(ram_size).value());
    TlbPool pool{ram.file()};
    TlbPool::Tables tables = pool.select(1, 1);
    TlbTable& user = *tables[0];
    TlbTable& system = *tables[1];
};

TEST_F(MirrorTest, ShowsAPageAtTheLowHalfOfItsAddress) {
    ASSERT_TRUE(pool.mirrors());
    fill(user, page_a, 3);
    EXPECT_FALSE(reads(user, page_a)); // Not before it is used often.
    EXPECT_EQ(pool.mirror(user, page_a), 1u);
    EXPECT_TRUE(reads(user, page_a));
    EXPECT_TRUE(writes(user, page_a));
    ram_page(3)[77] = 0x5A;
    EXPECT_EQ(*seen(page_a + 77), 0x5A);
    *seen(page_a + 78) = 0xA5;
    EXPECT_EQ(ram_page(3)[78], 0xA5);
    EXPECT_EQ(pool.mirror(user, page_a), 0u); // It is there.
}

TEST_F(MirrorTest, BringsThePagesThatFollowInMemoryToo) {
    for (u64 n = 0; n < 5; ++n)
        fill(user, page_b + n * page_size, 10 + n);
    fill(user, page_b + 5 * page_size, 2);
    fill(user, page_b - page_size, 100);
    EXPECT_EQ(pool.mirror(user, page_b + 2 * page_size), 5u);
    EXPECT_TRUE(reads(user, page_b));
    EXPECT_TRUE(reads(user, page_b + 4 * page_size));
    EXPECT_FALSE(reads(user, page_b + 5 * page_size));
    EXPECT_FALSE(reads(user, page_b - page_size));
    ram_page(14)[1] = 9;
    EXPECT_EQ(*seen(page_b + 4 * page_size + 1), 9);
}

TEST_F(MirrorTest, BringsAllOfALargePageNearIt) {
    constexpr u64 large = 0x7F12'3460'0000, first = 512; // 2 MiB in both.
    fill(system, large + 9 * page_size, 7);              // Elsewhere in memory.
    pool.mirror(system, large + 9 * page_size);
    user.fill(large + 3 * page_size, {.read = true,
                                      .write = true,
                                      .execute = false,
                                      .host = ram_page(first + 3),
                                      .frame = PhysicalAddress((first + 3) * page_size),
                                      .large = true});
    EXPECT_EQ(user.frame(large + 3 * page_size), PhysicalAddress((first + 3) * page_size));
    EXPECT_EQ(pool.mirror(user, large + 3 * page_size), 512u);
    EXPECT_TRUE(writes(user, large + 3 * page_size));
    EXPECT_FALSE(reads(user, large + 4 * page_size)); // Nobody has looked for it yet;
    fill(user, large + 4 * page_size, first + 4);
    EXPECT_TRUE(reads(user, large + 4 * page_size)); // then it is there.
    EXPECT_FALSE(reads(system, large + 9 * page_size));
    ram_page(first + 511)[5] = 0x77;
    EXPECT_EQ(*seen(large + 511 * page_size + 5), 0x77);
}

TEST_F(MirrorTest, OfALargePageBeyondTheEndOfMemoryOnlyWhatThereIs) {
    constexpr u64 large = 0x7F12'3460'0000;
    user.fill(large, {.read = true,
                      .write = true,
                      .execute = false,
                      .host = ram_page(ram_size / page_size - 2), // Not at the start of 2 MiB there.
                      .frame = PhysicalAddress(ram_size - 2 * page_size),
                      .large = true});
    EXPECT_EQ(pool.mirror(user, large), 1u);
    EXPECT_TRUE(reads(user, large));
}

TEST_F(MirrorTest, TagsAreThoseOfTheEntry) {
    fill(user, page_a, 3, false);
    pool.mirror(user, page_a);
    EXPECT_TRUE(reads(user, page_a));
    EXPECT_FALSE(writes(user, page_a));
    fill(user, page_a, 3);
    EXPECT_TRUE(writes(user, page_a));
    user.drop_writable(PhysicalAddress(3 * page_size));
    EXPECT_TRUE(reads(user, page_a));
    EXPECT_FALSE(writes(user, page_a));
    fill(user, page_a, 3);
    user.drop_all_writable();
    EXPECT_FALSE(writes(user, page_a));
    user.drop_page(page_a);
    EXPECT_FALSE(reads(user, page_a));
    fill(user, page_a, 3); // Nothing has changed in the mirror:
    EXPECT_TRUE(reads(user, page_a));
    fill(user, page_a, 4); // it is another page now.
    EXPECT_FALSE(reads(user, page_a));
    EXPECT_EQ(pool.mirror(user, page_a), 1u);
    EXPECT_TRUE(reads(user, page_a));
    user.drop_region(page_a & ~(u64{0x40'0000} - 1), 0x40'0000);
    EXPECT_FALSE(reads(user, page_a));
}

TEST_F(MirrorTest, APlaceBelongsToThePageThatCameLast) {
    fill(user, page_a, 3);
    fill(system, page_a, 4); // A table may be behind the other.
    pool.mirror(user, page_a);
    EXPECT_TRUE(reads(user, page_a));
    EXPECT_FALSE(reads(system, page_a));
    pool.mirror(system, page_a);
    EXPECT_FALSE(reads(user, page_a));
    EXPECT_TRUE(reads(system, page_a));
    constexpr u64 same_place = page_a + Mirror::window_bytes;
    fill(user, same_place, 5);
    pool.mirror(user, same_place);
    EXPECT_TRUE(reads(user, same_place));
    EXPECT_FALSE(reads(system, page_a));
}

TEST_F(MirrorTest, AnUnusedPlaceIsWantedWherePointersAreInUse) {
    fill(user, page_a, 3);
    EXPECT_EQ(pool.mirror(user, page_a, true), 1u);
    EXPECT_TRUE(reads(user, page_a));
    fill(user, page_a, 4); // Somebody may have an address in page 3.
    EXPECT_EQ(pool.mirror(user, page_a, true), 0u);
    EXPECT_FALSE(reads(user, page_a));
    EXPECT_EQ(pool.mirror(user, page_a), 1u);
    EXPECT_TRUE(reads(user, page_a));
}

TEST_F(MirrorTest, BothTablesOfAPageMatch) {
    fill(user, page_a, 3, false);
    fill(system, page_a, 3);
    pool.mirror(user, page_a);
    EXPECT_TRUE(writes(system, page_a));
    EXPECT_FALSE(writes(user, page_a));
}

TEST_F(MirrorTest, StaysWhileTablesGrowAndAreRecycled) {
    fill(user, page_a, 3);
    fill(user, page_b, 4);
    pool.mirror(user, page_a);
    pool.mirror(user, page_b);
    while (user.grow()) {
        ASSERT_TRUE(writes(user, page_a));
        ASSERT_TRUE(writes(user, page_b));
    }
    pool.release_all();
    ASSERT_EQ(pool.select(1, 1), tables);
    EXPECT_FALSE(reads(user, page_a));
    fill(user, page_a, 3);
    EXPECT_TRUE(reads(user, page_a));
    EXPECT_FALSE(reads(user, page_b));
}

TEST_F(MirrorTest, TakesTheGuestsMemoryOnly) {
    std::vector<u8> rom(2 * page_size);
    u8* const page = rom.data() + page_size - reinterpret_cast<std::uintptr_t>(rom.data()) % page_size;
    user.fill(page_a, {.read = true, .write = false, .execute = false, .host = page, .frame = {}});
    EXPECT_EQ(pool.mirror(user, page_a), 0u);
    EXPECT_FALSE(reads(user, page_a));
    EXPECT_EQ(pool.mirror(user, page_b), 0u); // Nor what the table does not have.
}

TEST_F(MirrorTest, WithoutAFileThereIsNone) {
    TlbPool other{RamFile{}};
    EXPECT_FALSE(other.mirrors());
    TlbTable& table = *other.select(1, 1)[0];
    fill(table, page_a, 3);
    EXPECT_EQ(other.mirror(table, page_a), 0u);
    EXPECT_FALSE(reads(table, page_a));
}

// The host lets a process have 65,530 mappings.
TEST_F(MirrorTest, BeginsAnewWhenItHasMuch) {
    fill(system, page_a, 3);
    pool.mirror(system, page_a);
    bool emptied = false;
    for (u64 n = 0; n < 20'000 && !emptied; ++n) {
        const u64 linear = page_b + 2 * n * page_size;
        fill(user, linear, n % 4096);
        ASSERT_EQ(pool.mirror(user, linear), 1u) << n;
        ASSERT_TRUE(writes(user, linear)) << n;
        emptied = !reads(system, page_a);
    }
    EXPECT_TRUE(emptied);
}

} // namespace
} // namespace calque::mmu
