#include "firmware/e820/e820.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace calque::firmware {
namespace {

std::string text(const E820Map& map) {
    std::string out;
    for (const E820Entry& entry : map.entries())
        out += fmt::format("{:x}-{:x}:{} ", entry.base, entry.end(), static_cast<u32>(entry.type));
    return out;
}

TEST(E820, LaterEntriesCutEarlierOnes) {
    E820Map map;
    map.add(0, 0x1000, E820Type::ram);
    map.add(0x400, 0x200, E820Type::reserved);
    EXPECT_EQ(text(map), "0-400:1 400-600:2 600-1000:1 ");
    map.add(0x500, 0x1000, E820Type::acpi);
    EXPECT_EQ(text(map), "0-400:1 400-500:2 500-1500:3 ");
    map.add(0, 0x2000, E820Type::ram);
    EXPECT_EQ(text(map), "0-2000:1 ");
    map.add(0x2000, 0x1000, E820Type::ram);
    map.add(0x100, 0, E820Type::nvs);
    EXPECT_EQ(text(map), "0-3000:1 ");
}

TEST(E820, IsRamOnlyWhereAllOfItIs) {
    E820Map map;
    map.add(0x1000, 0x1000, E820Type::ram);
    map.add(0x2000, 0x1000, E820Type::reserved);
    EXPECT_TRUE(map.is_ram(0x1000, 0x1000));
    EXPECT_TRUE(map.is_ram(0x1FFF, 1));
    EXPECT_FALSE(map.is_ram(0x1FFF, 2));
    EXPECT_FALSE(map.is_ram(0xFFF, 2));
    EXPECT_FALSE(map.is_ram(0x1800, ~u64{0}));
}

TEST(E820, HighestFitRespectsFloorLimitAndAlignment) {
    E820Map map;
    map.add(0, 0xA0000, E820Type::ram);
    map.add(0x100000, 0x100000, E820Type::ram);
    EXPECT_EQ(map.highest_fit(0x1001, 0x1000, 0, ~u64{0}), 0x1FE000u);
    EXPECT_EQ(map.highest_fit(0x1000, 0x1000, 0, 0x180800), 0x17F000u);
    EXPECT_EQ(map.highest_fit(0x1000, 0x1000, 0, 0x100800), 0x9F000u);
    EXPECT_EQ(map.highest_fit(0x1000, 0x1000, 0x1FF800, ~u64{0}), 0u);
    EXPECT_EQ(map.highest_fit(0x200000, 0x1000, 0, ~u64{0}), 0u);
    EXPECT_EQ(map.highest_fit(0xA0000, 0x1000, 0, 0xA0000), 0u); // Address 0 means none.
}

TEST(E820, RamMovesAboveFourGiBFromThreeAndAHalf) {
    EXPECT_EQ(ram_layout(128 * MiB).low, 128 * MiB);
    EXPECT_EQ(ram_layout(3584 * MiB - 1).high, 0u);
    EXPECT_EQ(ram_layout(3584 * MiB).low, 3 * GiB);
    EXPECT_EQ(ram_layout(3584 * MiB).high, 512 * MiB);
    EXPECT_EQ(ram_layout(64 * GiB).high, 61 * GiB);
}

std::string map_of(u64 ram) {
    Platform platform;
    platform.ram = ram_layout(ram);
    return text(e820_map(platform, firmware_areas(platform, 0x3000)));
}

TEST(E820, MachineMaps) {
    const std::string low = "0-9fc00:1 9fc00-a0000:2 f0000-100000:2 ",
                      apics = "fec00000-fec01000:2 fee00000-fee01000:2 ";
    EXPECT_EQ(map_of(128 * MiB), low + "100000-7ffd000:1 7ffd000-7ffe000:4 7ffe000-8000000:3 " + apics);
    EXPECT_EQ(map_of(1 * GiB), low + "100000-3fffd000:1 3fffd000-3fffe000:4 3fffe000-40000000:3 " + apics);
    EXPECT_EQ(map_of(6 * GiB),
              low + "100000-bfffd000:1 bfffd000-bfffe000:4 bfffe000-c0000000:3 " + apics + "100000000-1c0000000:1 ");
    EXPECT_EQ(map_of(64 * GiB),
              low + "100000-bfffd000:1 bfffd000-bfffe000:4 bfffe000-c0000000:3 " + apics + "100000000-1040000000:1 ");
}

// An odd -m must not make tables share a page with RAM that is not there.
TEST(E820, TablesStayInsideRamOfAnOddSize) {
    Platform platform;
    platform.ram = ram_layout(100 * MiB + 12345);
    const FirmwareAreas areas = firmware_areas(platform, 0x3000);
    EXPECT_EQ(areas.acpi_nvs.base % page_size, 0u);
    EXPECT_LE(areas.acpi_tables.end(), platform.ram.low);
}

TEST(E820, PciWindowIsAboveRamAndCoveredByMtrrPairs) {
    for (const u64 ram : {128 * MiB, 2 * GiB + 5 * MiB, 3 * GiB + 300 * MiB, 3583 * MiB, 16 * GiB}) {
        Platform platform;
        platform.ram = ram_layout(ram);
        const AddressRange window = platform.pci_window_32();
        EXPECT_GE(window.base, platform.ram.low);
        EXPECT_GE(window.base, 2 * GiB);
        EXPECT_EQ(window.base % (16 * MiB), 0u);
        EXPECT_EQ(window.end(), 0xFEC00000u);
    }
}

} // namespace
} // namespace calque::firmware
