#include "mmu/guest_ram.h"

#include <cstring>
#include <gtest/gtest.h>

namespace calque::mmu {
namespace {

TEST(GuestRam, IsZeroAndOfTheSizeAskedFor) {
    auto ram = GuestRam::create(u64{8} << 30);
    ASSERT_TRUE(ram.ok());
    EXPECT_EQ(ram->size(), u64{8} << 30);
    EXPECT_EQ(ram->data()[(u64{8} << 30) - 1], 0);
    GuestRam other = std::move(*ram);
    EXPECT_EQ(ram->data(), nullptr);
    other.data()[5] = 1;
}

TEST(GuestRam, RefusesPartsOfPages) {
    EXPECT_FALSE(GuestRam::create(0).ok());
    EXPECT_FALSE(GuestRam::create(4097).ok());
}

std::vector<u8> saved(GuestRam& ram) {
    Archive archive = Archive::saver();
    ram.serialize(archive);
    EXPECT_TRUE(archive.ok());
    return archive.take();
}

TEST(GuestRam, SavesWhatIsNotZeroAndLoadsIt) {
    const u64 size = u64{40} << 20;
    GuestRam ram = std::move(GuestRam::create(size).value());
    for (const u64 at : {u64{0}, u64{4095}, u64{8192}, u64{16} << 20, (u64{17} << 20) + 123, size - 1})
        ram.data()[at] = static_cast<u8>(at / 4096 + 1);
    ram.data()[u64{5} << 20] = 0; // Touched, and zero.
    std::vector<u8> data = saved(ram);
    EXPECT_LT(data.size(), 8 * page_size);

    GuestRam copy = std::move(GuestRam::create(size).value());
    copy.data()[u64{30} << 20] = 9; // Has to go.
    Archive loader = Archive::loader(std::move(data));
    copy.serialize(loader);
    ASSERT_TRUE(loader.ok());
    EXPECT_EQ(std::memcmp(ram.data(), copy.data(), size), 0);
}

TEST(GuestRam, DoesNotLoadAnotherSize) {
    GuestRam ram = std::move(GuestRam::create(u64{4} << 20).value());
    Archive loader = Archive::loader(saved(ram));
    GuestRam larger = std::move(GuestRam::create(u64{8} << 20).value());
    larger.serialize(loader);
    EXPECT_FALSE(loader.ok());
}

// A run that points outside its chunk, as a damaged or forged file has it, under a good checksum.
TEST(GuestRam, DoesNotLoadRunsOutsideTheChunk) {
    const u64 size = u64{1} << 20;
    GuestRam ram = std::move(GuestRam::create(size).value());
    for (const auto& [first, count] : {std::pair<u8, u8>{255, 2}, {0, 2}, {1, 255}, {2, 0}}) {
        std::vector<u8> packed(8 + page_size, 0);
        packed[0] = first;
        packed[4] = count;
        if (first == 2) packed[2] = 1; // Page 65538.
        Archive saver = Archive::saver();
        saver.section("ram", 1, [&](u32) {
            u64 bytes = size;
            saver.field("size", bytes);
            saver.field("chunk", packed);
        });
        Archive loader = Archive::loader(saver.take());
        ram.serialize(loader);
        EXPECT_FALSE(loader.ok());
    }
}

} // namespace
} // namespace calque::mmu
