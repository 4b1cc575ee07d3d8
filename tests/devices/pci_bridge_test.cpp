#include "devices/pci/pci_bridge.h"
#include "devices/pci/pci_bus.h"
#include "devices/pci/pci_dma.h"
#include "tests/devices/harness.h"

#include <gtest/gtest.h>

namespace calque::devices {
namespace {

using test::RecordedLines;

// Answers with its offset, and has memory behind its first page.
class Scratch final : public IoRegion {
  public:
    u64 read(u64 offset, unsigned) override { return 0x50 + offset; }
    void write(u64 offset, u64, unsigned) override { last_write = offset; }
    std::vector<DirectMemory> direct_memory() const override {
        return {{0, bytes.size(), const_cast<u8*>(bytes.data()), true}};
    }
    u64 last_write = ~u64{0};
    std::vector<u8> bytes = std::vector<u8>(0x10'0000);
};

PciDescriptor card(IoRegion& region) {
    PciDescriptor d;
    d.name = "card";
    d.vendor_id = 0x1234;
    d.device_id = 0x5678;
    d.interrupt_pin = 1;
    d.bars[0] = {PciBar::Kind::io, 0x400, false, &region};
    d.bars[1] = {PciBar::Kind::memory32, 0x10'0000, false, &region};
    d.bars[2] = {PciBar::Kind::memory64, 0x10'0000, true, &region};
    return d;
}

// Bus 0, slot 4: a bridge; behind it in slot 3 another one; behind that in slot 6 a card.
class PciBridgeTest : public testing::Test {
  protected:
    PciBridgeTest() {
        pci.map_config_ports();
        pci.set_interrupt_sink(&lines);
        EXPECT_TRUE(pci.attach(outer.function(), 4, 0).ok());
        EXPECT_TRUE(outer.secondary().attach(inner.function(), 3, 0).ok());
        EXPECT_TRUE(inner.secondary().attach(function, 6, 0).ok());
        outer.set_secondary_reset([this] {
            ++resets;
            inner.reset();
            function.reset();
        });
    }
    u32 read(unsigned bus, unsigned device, unsigned offset, unsigned size) {
        ports.write(0xCF8, 0x8000'0000u | bus << 16 | device << 11 | (offset & 0xFC), 4);
        return static_cast<u32>(ports.read(0xCFC + (offset & 3), size));
    }
    void write(unsigned bus, unsigned device, unsigned offset, u32 value, unsigned size) {
        ports.write(0xCF8, 0x8000'0000u | bus << 16 | device << 11 | (offset & 0xFC), 4);
        ports.write(0xCFC + (offset & 3), value, size);
    }
    void number_buses() {
        write(0, 4, pci::PRIMARY_BUS, 0x00'05'02'00, 4); // Secondary 2, subordinate 5.
        write(2, 3, pci::PRIMARY_BUS, 0x00'05'05'02, 4);
    }
    // Both bridges' windows: I/O D000-DFFF, memory E0000000-E01FFFFF, prefetchable 8_0000_0000 and 1 MiB.
    void open_windows() {
        number_buses();
        for (const auto& [bus, slot] : {std::pair{0u, 4u}, std::pair{2u, 3u}}) {
            write(bus, slot, pci::IO_BASE, 0xD0D0, 2);
            write(bus, slot, pci::MEMORY_BASE, 0xE010'E000, 4);
            write(bus, slot, pci::PREFETCH_BASE, 0x0000'0000, 4);
            write(bus, slot, pci::PREFETCH_BASE_UPPER, 8, 4);
            write(bus, slot, pci::PREFETCH_LIMIT_UPPER, 8, 4);
            write(bus, slot, pci::COMMAND, pci::COMMAND_IO | pci::COMMAND_MEMORY, 2);
        }
        write(5, 6, 0x10, 0xD400, 4);
        write(5, 6, 0x14, 0xE010'0000, 4);
        write(5, 6, 0x18, 0, 4);
        write(5, 6, 0x1C, 8, 4);
        write(5, 6, pci::COMMAND, pci::COMMAND_IO | pci::COMMAND_MEMORY, 2);
    }

    Log log;
    Bus ports{Bus::Kind::ports, log};
    Bus memory{Bus::Kind::memory, log};
    RecordedLines lines;
    Scratch region;
    PciBus pci{log, ports, memory};
    PciBridge outer{log, ports, memory, 1, "outer"};
    PciBridge inner{log, outer.secondary().ports(), outer.secondary().memory(), 2, "inner"};
    PciFunction function{card(region), log};
    int resets = 0;
};

TEST_F(PciBridgeTest, HasATypeOneHeader) {
    EXPECT_EQ(read(0, 4, pci::HEADER_TYPE, 1), 1u);
    EXPECT_EQ(read(0, 4, pci::CLASS_CODE, 2), 0x0400u);
    EXPECT_EQ(read(0, 4, pci::CLASS_CODE + 2, 1), 0x06u);
    write(0, 4, 0x10, 0xFFFF'FFFF, 4); // No BARs.
    EXPECT_EQ(read(0, 4, 0x10, 4), 0u);
    write(0, 4, pci::IO_BASE, 0xFFFF, 2);
    EXPECT_EQ(read(0, 4, pci::IO_BASE, 2), 0xF0F0u); // 16-bit I/O.
    write(0, 4, pci::MEMORY_BASE, 0xFFFF'FFFF, 4);
    EXPECT_EQ(read(0, 4, pci::MEMORY_BASE, 4), 0xFFF0'FFF0u);
    write(0, 4, pci::PREFETCH_BASE, 0xFFFF'FFFF, 4);
    EXPECT_EQ(read(0, 4, pci::PREFETCH_BASE, 4), 0xFFF1'FFF1u); // 64-bit addresses.
    const unsigned slots = outer.function().capability_offset(pci::CAPABILITY_SLOT_NUMBERING);
    ASSERT_NE(slots, 0u);
    EXPECT_EQ(read(0, 4, slots + 3, 1), 1u); // The chassis.
}

TEST_F(PciBridgeTest, ConfigurationCyclesFollowBusNumbers) {
    EXPECT_EQ(read(5, 6, 0, 4), 0xFFFF'FFFFu); // Not numbered yet.
    number_buses();
    EXPECT_EQ(read(2, 3, 0, 4), 0x0001'1B36u);
    EXPECT_EQ(read(5, 6, 0, 4), 0x5678'1234u);
    EXPECT_EQ(read(5, 5, 0, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(read(3, 6, 0, 4), 0xFFFF'FFFFu); // In the range, on nobody's bus.
    EXPECT_EQ(read(6, 6, 0, 4), 0xFFFF'FFFFu); // Out of it.
    EXPECT_EQ(read(0, 6, 0, 4), 0xFFFF'FFFFu);
}

TEST_F(PciBridgeTest, WindowsShowWhatIsBehind) {
    open_windows();
    EXPECT_EQ(ports.read(0xD400 + 0x10, 1), 0x60u);
    EXPECT_EQ(memory.read(0xE010'0020, 4), 0x70u);
    EXPECT_EQ(memory.read(0x8'0000'0004, 4), 0x54u);
    write(5, 6, 0x14, 0xE020'0000, 4); // Behind the limit.
    EXPECT_EQ(memory.read(0xE020'0020, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(outer.secondary().memory().read(0xE020'0020, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(inner.secondary().memory().read(0xE020'0020, 4), 0x70u);
}

TEST_F(PciBridgeTest, ClosedWindowsShowNothing) {
    open_windows();
    write(0, 4, pci::COMMAND, pci::COMMAND_IO, 2);
    EXPECT_EQ(memory.read(0xE010'0020, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(ports.read(0xD410, 1), 0x60u);
    write(0, 4, pci::COMMAND, pci::COMMAND_MEMORY, 2);
    EXPECT_EQ(memory.read(0xE010'0020, 4), 0x70u);
    EXPECT_EQ(ports.read(0xD410, 1), 0xFFu);
    write(2, 3, pci::MEMORY_BASE, 0xE000'E010, 4); // The limit below the base.
    EXPECT_EQ(memory.read(0xE010'0020, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(memory.read(0x8'0000'0004, 4), 0x54u);
}

TEST_F(PciBridgeTest, IsaEnableLeavesMostOfEachKibibyteOut) {
    open_windows();
    write(0, 4, pci::BRIDGE_CONTROL, pci::BRIDGE_ISA, 2);
    EXPECT_EQ(ports.read(0xD410, 1), 0x60u);
    EXPECT_EQ(ports.read(0xD510, 1), 0xFFu);
    write(0, 4, pci::BRIDGE_CONTROL, 0, 2);
    EXPECT_EQ(ports.read(0xD510, 1), 0x60u);
}

TEST_F(PciBridgeTest, VgaEnableOpensTheLegacyRanges) {
    open_windows();
    Scratch vga;
    inner.secondary().memory().map(0xA0000, 0x20000, vga, "vga");
    inner.secondary().ports().map(0x3C0, 32, vga, "vga");
    EXPECT_EQ(memory.read(0xA0000, 1), 0xFFu);
    write(0, 4, pci::BRIDGE_CONTROL, pci::BRIDGE_VGA, 2);
    write(2, 3, pci::BRIDGE_CONTROL, pci::BRIDGE_VGA, 2);
    EXPECT_EQ(memory.read(0xA0000, 1), 0x50u);
    EXPECT_EQ(ports.read(0x3C4, 1), 0x54u);
    inner.secondary().memory().unmap(vga);
    inner.secondary().ports().unmap(vga);
}

// Slot 6's INTA# is INTC# of slot 3, which is INTB# of slot 4: PIRQ (1 + 4 - 1) mod 4.
TEST_F(PciBridgeTest, InterruptPinsTurnWithTheSlots) {
    function.set_intx(true);
    EXPECT_TRUE(lines.level(0));
    function.set_intx(false);
    EXPECT_FALSE(lines.level(0));
}

TEST_F(PciBridgeTest, SecondaryResetResetsOnceAndSilences) {
    open_windows();
    function.set_intx(true);
    write(0, 4, pci::BRIDGE_CONTROL, pci::BRIDGE_RESET, 2);
    EXPECT_EQ(resets, 1);
    EXPECT_EQ(read(2, 3, 0, 4), 0xFFFF'FFFFu); // Nobody answers while it lasts.
    EXPECT_FALSE(lines.level(0));
    write(0, 4, pci::BRIDGE_CONTROL, pci::BRIDGE_RESET, 2);
    EXPECT_EQ(resets, 1);
    write(0, 4, pci::BRIDGE_CONTROL, 0, 2);
    EXPECT_EQ(read(2, 3, 0, 4), 0x0001'1B36u);
    EXPECT_EQ(read(2, 3, pci::SECONDARY_BUS, 1), 0u);
    EXPECT_EQ(memory.read(0xE010'0020, 4), 0xFFFF'FFFFu);
}

TEST_F(PciBridgeTest, MemoryBehindBarsIsSeenThroughTheWindows) {
    unsigned told = 0;
    memory.set_change_observer([&] { ++told; });
    open_windows();
    EXPECT_GT(told, 0u);
    bool found = false;
    for (const auto& piece : memory.pieces())
        for (const auto& direct : piece.region->direct_memory())
            found |= piece.first + direct.offset == 0xE010'0000 && direct.length == 0x10'0000
                     && direct.data == region.bytes.data();
    EXPECT_TRUE(found);
    told = 0;
    write(5, 6, 0x14, 0xE000'0000, 4);
    EXPECT_GT(told, 0u);
    memory.set_change_observer({});
}

// A window that cuts a BAR shows the pages of its part.
TEST_F(PciBridgeTest, AWindowCutsMemory) {
    open_windows();
    inner.secondary().memory().map(0xE018'0000, 0x10'0000, region, "cut");
    write(2, 3, pci::MEMORY_BASE, 0xE010'E010, 4);
    for (const auto& piece : memory.pieces())
        for (const auto& direct : piece.region->direct_memory()) {
            if (piece.first > 0xFFFF'FFFF) continue;
            EXPECT_LE(piece.first + direct.offset + direct.length, 0xE020'0000u);
            EXPECT_LE(direct.data + direct.length, region.bytes.data() + region.bytes.size());
        }
    inner.secondary().memory().unmap(region);
}

TEST_F(PciBridgeTest, SavedAndLoadedWindowsAreOpenAgain) {
    open_windows();
    Archive saver = Archive::saver();
    outer.serialize(saver);
    inner.serialize(saver);
    function.serialize(saver);
    outer.reset();
    inner.reset();
    function.reset();
    EXPECT_EQ(memory.read(0xE010'0020, 4), 0xFFFF'FFFFu);
    Archive loader = Archive::loader(saver.take());
    outer.serialize(loader);
    inner.serialize(loader);
    function.serialize(loader);
    EXPECT_TRUE(loader.ok());
    EXPECT_EQ(memory.read(0xE010'0020, 4), 0x70u);
    EXPECT_EQ(read(5, 6, 0, 4), 0x5678'1234u);
}

} // namespace
} // namespace calque::devices
