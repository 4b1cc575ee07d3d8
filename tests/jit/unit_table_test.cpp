// Units by the hash of their key: places that collide, and what removal leaves behind.
#include "jit/cache/unit_table.h"

#include <gtest/gtest.h>
#include <vector>

namespace calque::jit {
namespace {

constexpr auto any = [](u32) { return true; };

TEST(UnitTable, AsksAboutEachUnitOfTheSameTag) {
    UnitTable table;
    constexpr u64 hash = 0x1234'5678'9ABC'DEF0;
    table.insert(hash, 7);
    table.insert(hash, 9);
    std::vector<u32> asked;
    const auto found = table.find(hash, [&](u32 unit) {
        asked.push_back(unit);
        return unit == 9;
    });
    EXPECT_EQ(found, 9u);
    EXPECT_EQ(asked, (std::vector<u32>{7, 9}));
    EXPECT_FALSE(table.find(hash, [](u32) { return false; }));
    EXPECT_FALSE(table.find(hash + 1, any)); // The same place, another tag.
}

TEST(UnitTable, FindsWhatLiesBehindARemovedUnit) {
    UnitTable table;
    constexpr u64 place = u64{0x3FFFF} << 46; // The last: what does not fit there goes to the first.
    for (u32 n = 0; n < 4; ++n)
        table.insert(place + n, n);
    table.remove(place + 1, 1);
    EXPECT_FALSE(table.find(place + 1, any));
    EXPECT_EQ(table.find(place + 3, any), 3u);
    table.insert(place + 5, 5); // In the place of the one that went.
    EXPECT_EQ(table.find(place + 5, any), 5u);
    for (const u32 n : {0u, 5u, 2u, 3u})
        table.remove(place + n, n);
    for (u32 n = 0; n < 6; ++n)
        EXPECT_FALSE(table.find(place + n, any)) << n;
}

TEST(UnitTable, IsFullByWhatIsThereAndNotByWhatWent) {
    UnitTable table;
    for (u32 n = 0; n < 1'000'000; ++n) { // Code that is made, run and made anew.
        table.insert(n * 0x9E37'79B9'7F4A'7C15, n);
        table.remove(n * 0x9E37'79B9'7F4A'7C15, n);
    }
    EXPECT_FALSE(table.full());
    u32 units = 0;
    for (; !table.full(); ++units)
        table.insert(units * 0x9E37'79B9'7F4A'7C15, units);
    EXPECT_GT(units, 150'000u);
    EXPECT_EQ(table.find(77 * 0x9E37'79B9'7F4A'7C15, any), 77u);
    table.clear();
    EXPECT_FALSE(table.full());
    EXPECT_FALSE(table.find(77 * 0x9E37'79B9'7F4A'7C15, any));
}

} // namespace
} // namespace calque::jit
