#include "mmu/flat_map.h"
#include "tests/mmu/fixture.h"

#include <random>

namespace calque::mmu {
namespace {

using Call = RecordingTarget::Call;

std::vector<u8> read_bytes(PhysicalMap& map, u64 address, std::size_t size) {
    std::vector<u8> bytes(size);
    map.read(PhysicalAddress(address), bytes);
    return bytes;
}

TEST(PhysicalMap, NothingAnswersWithOnes) {
    Log log;
    PhysicalMap map(log);
    EXPECT_EQ(map.read_value(PhysicalAddress(0xFEE0'0000), 4), 0xFFFF'FFFFu);
    map.write_value(PhysicalAddress(0xFEE0'0000), 1, 4);
    EXPECT_EQ(map.page(PhysicalAddress(0)).read_host, nullptr);
    EXPECT_EQ(read_bytes(map, ~u64{0} - 1, 4), (std::vector<u8>(4, 0xFF))); // Over the end of everything.
}

TEST(PhysicalMap, DefaultTargetGetsWhatIsNotMemory) {
    Memory memory;
    RecordingTarget bus;
    memory.map.set_default_target(&bus);
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0xFEC0'0010), 4), 0x13121110u);
    memory.map.write_value(PhysicalAddress(u64{1} << 50), 7, 1); // Beyond the processor's reach: DMA may ask.
    memory.map.write_value(PhysicalAddress(0x1000), 7, 1);
    EXPECT_EQ(bus.calls, (std::vector<Call>{{false, 0xFEC0'0010, 0, 4}, {true, u64{1} << 50, 7, 1}}));
}

TEST(PhysicalMap, HigherPriorityLiesOverAndLaterWins) {
    Memory memory;
    RecordingTarget low, high, late;
    memory.map.set_regions({memory.ram_region(0, 0x10000), io_region(0x1000, 0x3000, low, 1),
                            io_region(0x2000, 0x1000, high, 2), io_region(0x1800, 0x100, late, 1)});
    memory.map.read_value(PhysicalAddress(0x1000), 1);
    memory.map.read_value(PhysicalAddress(0x1800), 1);
    memory.map.read_value(PhysicalAddress(0x2000), 1);
    memory.map.read_value(PhysicalAddress(0x3FFF), 1);
    memory.map.read_value(PhysicalAddress(0x4000), 1);
    EXPECT_EQ(low.calls, (std::vector<Call>{{false, 0x1000, 0, 1}, {false, 0x3FFF, 0, 1}}));
    EXPECT_EQ(high.calls, (std::vector<Call>{{false, 0x2000, 0, 1}}));
    EXPECT_EQ(late.calls, (std::vector<Call>{{false, 0x1800, 0, 1}}));
}

TEST(PhysicalMap, RomIgnoresWrites) {
    Memory memory;
    Region rom = memory.ram_region(0xFFFF'0000, 0x10000, 0x10000);
    rom.kind = RegionKind::rom;
    memory.map.set_regions({rom});
    memory.put<u32>(0x10000, 0x11223344);
    memory.map.write_value(PhysicalAddress(0xFFFF'0000), 0, 4);
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0xFFFF'0000), 4), 0x11223344u);
    EXPECT_NE(memory.map.page(PhysicalAddress(0xFFFF'0000)).read_host, nullptr);
    EXPECT_EQ(memory.map.page(PhysicalAddress(0xFFFF'0000)).write_host, nullptr);
    EXPECT_TRUE(memory.map.is_memory(PhysicalAddress(0xFFFF'0000), 0x10000, false));
    EXPECT_FALSE(memory.map.is_memory(PhysicalAddress(0xFFFF'0000), 1, true));
    EXPECT_FALSE(memory.map.is_memory(PhysicalAddress(0xFFFF'0001), 0x10000, false));
}

// The four states of a PAM register (82441FX datasheet): the ROM and the RAM behind it, for reads and for writes.
TEST(PhysicalMap, PamReadsAndWritesGoDifferentWays) {
    Memory memory;
    RecordingTarget pci;
    const auto set = [&](RegionKind kind, u8* host, RegionKind write_kind, u8* write_host) {
        Region region;
        region.base = PhysicalAddress(0xF0000);
        region.length = 0x10000;
        region.kind = kind;
        region.host = host;
        region.write_kind = write_kind;
        region.write_host = write_host;
        region.target = &pci;
        memory.map.set_regions({region});
        memory.put<u32>(0xF0000, 1); // RAM
        memory.put<u32>(0x20000, 2); // ROM
        memory.map.write_value(PhysicalAddress(0xF0000), 3, 4);
    };
    u8* const ram = memory.ram.data() + 0xF0000;
    u8* const rom = memory.ram.data() + 0x20000;
    const auto reads = [&] { return memory.map.read_value(PhysicalAddress(0xF0000), 4); };

    set(RegionKind::rom, rom, RegionKind::io, nullptr); // Reads ROM, writes go to PCI.
    EXPECT_EQ(reads(), 2u);
    EXPECT_EQ(memory.get<u32>(0xF0000), 1u);
    EXPECT_EQ(pci.calls.size(), 1u);
    set(RegionKind::rom, rom, RegionKind::ram, ram); // The shadow is being filled.
    EXPECT_EQ(reads(), 2u);
    EXPECT_EQ(memory.get<u32>(0xF0000), 3u);
    EXPECT_EQ(memory.get<u32>(0x20000), 2u);
    set(RegionKind::rom, ram, RegionKind::unassigned, nullptr); // The shadow is protected.
    EXPECT_EQ(reads(), 1u);
    set(RegionKind::ram, ram, RegionKind::unassigned, nullptr);
    EXPECT_EQ(reads(), 3u);
}

TEST(PhysicalMap, AliasesShowTheSameMemory) {
    Memory memory;
    memory.map.set_regions({memory.ram_region(0, 0x100000), memory.ram_region(0x1'8000'0000, 0x10000, 0x8000)});
    memory.map.write_value(PhysicalAddress(0x1'8000'0010), 0xABCD, 2);
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0x8010), 2), 0xABCDu);
}

TEST(PhysicalMap, A20MasksTheProcessorNotDma) {
    Memory memory;
    memory.put<u8>(0x10, 1);
    memory.put<u8>(0x100010, 2);
    memory.map.set_a20(false);
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0x100010), 1), 1u);
    EXPECT_EQ(memory.map.page(PhysicalAddress(0x100000)).read_host, memory.ram.data());
    u8 byte;
    memory.map.dma_read(PhysicalAddress(0x100010), std::span(&byte, 1));
    EXPECT_EQ(byte, 2);
    memory.map.set_a20(true);
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0x100010), 1), 2u);
}

TEST(PhysicalMap, DeviceAccessesAreSplitIntoAlignedPieces) {
    Memory memory;
    RecordingTarget device;
    memory.map.set_regions({io_region(0x1000, 0x1000, device)});
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0x1001), 8), 0x0807060504030201u);
    EXPECT_EQ(device.calls,
              (std::vector<Call>{
                  {false, 0x1001, 0, 1}, {false, 0x1002, 0, 2}, {false, 0x1004, 0, 4}, {false, 0x1008, 0, 1}}));
    device.calls.clear();
    u8 ten[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    memory.map.write(PhysicalAddress(0x1010), ten);
    EXPECT_EQ(device.calls, (std::vector<Call>{{true, 0x1010, 0x0807060504030201, 8}, {true, 0x1018, 0x0A09, 2}}));
}

TEST(PhysicalMap, AnAccessOverARegionsEndReachesBoth) {
    Memory memory;
    RecordingTarget device;
    memory.map.set_regions({memory.ram_region(0, 0x1000), io_region(0x1000, 0x6, device)});
    memory.put<u32>(0xFFC, 0x44332211);
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0xFFC), 8), 0x0302010044332211u);
    EXPECT_EQ(device.calls, (std::vector<Call>{{false, 0x1000, 0, 4}}));
    device.calls.clear();
    EXPECT_EQ(memory.map.read_value(PhysicalAddress(0x1000), 8), 0xFFFF050403020100u);
    EXPECT_EQ(device.calls, (std::vector<Call>{{false, 0x1000, 0, 4}, {false, 0x1004, 0, 2}}));
}

TEST(PhysicalMap, APageThatADeviceSharesIsNotPlainMemory) {
    Memory memory;
    RecordingTarget device;
    memory.map.set_regions({memory.ram_region(0, 0x4000), io_region(0x1F00, 0x10, device)});
    EXPECT_EQ(memory.map.page(PhysicalAddress(0x1000)).read_host, nullptr);
    EXPECT_EQ(memory.map.page(PhysicalAddress(0x2000)).read_host, memory.ram.data() + 0x2000);
    memory.map.write_value(PhysicalAddress(0x1EFC), 0x11223344, 4);
    EXPECT_EQ(memory.get<u32>(0x1EFC), 0x11223344u);
    EXPECT_TRUE(device.calls.empty());
}

TEST(PhysicalMap, MoreThanSixGibibytes) {
    Memory memory(u64{7} << 30);
    memory.map.set_regions(
        {memory.ram_region(0, 0xC000'0000), memory.ram_region(0x1'0000'0000, u64{4} << 30, 0xC000'0000)});
    memory.map.write_value(PhysicalAddress(0x1'FFFF'FFF8), 0x1234, 8);
    EXPECT_EQ(memory.get<u64>(0x1'BFFF'FFF8), 0x1234u);
    EXPECT_FALSE(memory.map.is_memory(PhysicalAddress(0xC000'0000), 1, false));
    EXPECT_TRUE(memory.map.mark_code(PhysicalAddress(0x1'FFFF'F000), 1) == false); // Nobody ever wrote there by TLB.
    EXPECT_TRUE(memory.map.page_has_code(PhysicalAddress(0x1'FFFF'F000)));
    EXPECT_FALSE(memory.map.page_has_code(PhysicalAddress(0x1'FFFF'E000)));
}

TEST(PhysicalMap, ObserversHearOfEveryChange) {
    struct Observer : MapObserver {
        void map_changed() override { ++changes; }
        int changes = 0;
    } observer;
    Memory memory;
    memory.map.add_observer(observer);
    memory.map.set_regions({});
    memory.map.set_a20(false);
    memory.map.set_a20(false); // No change.
    memory.map.set_default_target(nullptr);
    EXPECT_EQ(observer.changes, 3);
    memory.map.remove_observer(observer);
    memory.map.set_regions({});
    EXPECT_EQ(observer.changes, 3);
}

// Lookups in random maps against a search through the regions.
TEST(FlatMap, RandomMapsAgreeWithASearch) {
    std::mt19937_64 random(1);
    static RecordingTarget targets[4];
    std::vector<u8> backing(1 << 16);
    for (unsigned round = 0; round < 300; ++round) {
        std::vector<Region> regions;
        std::vector<u64> edges{0, ~u64{0}};
        const unsigned count = random() % 12;
        for (unsigned n = 0; n < count; ++n) {
            static constexpr unsigned widths[] = {8, 13, 16, 21, 22, 30, 32, 40, 64};
            const auto number = [&] { return random() >> (64 - widths[random() % std::size(widths)]); };
            Region region;
            region.base = PhysicalAddress(number());
            region.length = number() & 0xFF'FFFF'FFFF; // Of memory: no pointer may wrap.
            if (random() & 1) {
                region.base = region.base.page();
                region.length &= ~page_offset_mask;
            }
            region.priority = static_cast<int>(random() % 3);
            region.kind = static_cast<RegionKind>(random() % 4);
            if (region.kind == RegionKind::io) region.length = number();
            region.target = &targets[random() % 4];
            region.host = backing.data() + random() % backing.size(); // Never followed here.
            if (region.kind != RegionKind::io && random() % 4 == 0)
                region.write_kind = static_cast<RegionKind>(random() % 4);
            regions.push_back(region);
            edges.push_back(region.base.value);
            edges.push_back(region.base.value + region.length);
        }
        const FlatMap map(regions, nullptr);
        for (unsigned n = 0; n < 300; ++n) {
            const u64 address = n & 1 ? edges[random() % edges.size()] + random() % 5 - 2 : random() >> (random() % 64);
            const Region* best = nullptr;
            for (const Region& region : regions)
                if (address - region.base.value < region.length && address >= region.base.value
                    && (!best || region.priority >= best->priority))
                    best = &region;
            const FlatRange& range = map.find(address);
            ASSERT_LE(range.start, address);
            ASSERT_GE(range.last, address);
            const bool memory = best && (best->kind == RegionKind::ram || best->kind == RegionKind::rom);
            ASSERT_EQ(range.readable(address), memory ? best->host + (address - best->base.value) : nullptr);
            ASSERT_EQ(range.read_target, best && best->kind == RegionKind::io ? best->target : nullptr);
            const RegionKind writes = !best                                        ? RegionKind::unassigned
                                      : best->write_kind != RegionKind::unassigned ? best->write_kind
                                                                                   : best->kind;
            ASSERT_EQ(range.writable(address),
                      writes == RegionKind::ram ? best->host + (address - best->base.value) : nullptr);
            ASSERT_EQ(range.write_target, writes == RegionKind::io ? best->target : nullptr);
            const PhysicalMap::Page page = map.page(address & ~page_offset_mask);
            const bool whole = address >> 40 == 0 && range.start <= (address & ~page_offset_mask)
                               && range.last >= (address | page_offset_mask);
            ASSERT_EQ(page.read_host, whole ? range.readable(address & ~page_offset_mask) : nullptr);
        }
    }
}

} // namespace
} // namespace calque::mmu
