#include "devices/pci/i440fx.h"
#include "devices/pci/pci_bus.h"
#include "devices/pci/piix3.h"
#include "devices/pci/piix4_pm.h"
#include "devices/reset_control/reset_control.h"
#include "tests/devices/harness.h"

namespace calque::devices {
namespace {

using test::RecordedLines;

class Scratch final : public IoRegion {
  public:
    u64 read(u64 offset, unsigned) override { return 0x50 + offset; }
    void write(u64 offset, u64, unsigned) override { last_write = offset; }
    u64 last_write = ~u64{0};
};

struct Shaper final : MemoryShaper {
    void shape_memory(const MemoryShape& wanted) override {
        shape = wanted;
        ++calls;
    }
    MemoryShape shape{};
    unsigned calls = 0;
};

class PciTest : public testing::Test {
  protected:
    PciTest() {
        pci.map_config_ports();
        pci.set_interrupt_sink(&piix3);
        EXPECT_TRUE(pci.attach(host.function(), 0, 0).ok());
        EXPECT_TRUE(pci.attach(piix3.function(), 1, 0).ok());
        EXPECT_TRUE(pci.attach(pm.function(), 1, 3).ok());
    }
    void address(unsigned device, unsigned function, unsigned offset, unsigned bus = 0) {
        ports.write(0xCF8, 0x8000'0000u | bus << 16 | device << 11 | function << 8 | (offset & 0xFC), 4);
    }
    u32 read(unsigned device, unsigned function, unsigned offset, unsigned size) {
        address(device, function, offset);
        return static_cast<u32>(ports.read(0xCFC + (offset & 3), size));
    }
    void write(unsigned device, unsigned function, unsigned offset, u32 value, unsigned size) {
        address(device, function, offset);
        ports.write(0xCFC + (offset & 3), value, size);
    }

    Log log;
    Bus ports{Bus::Kind::ports, log};
    Bus memory{Bus::Kind::memory, log};
    RecordedLines router;
    Shaper shaper;
    Scratch pm_block;
    PciBus pci{log, ports, memory};
    I440fx host{log, shaper};
    Piix3 piix3{log, router};
    Piix4Pm pm{log, ports, pm_block, nullptr};
};

TEST_F(PciTest, IdentifiesTheChipset) {
    EXPECT_EQ(read(0, 0, 0x00, 4), 0x12378086u);
    EXPECT_EQ(read(0, 0, 0x0B, 1), 0x06u);
    EXPECT_EQ(read(0, 0, 0x2C, 4), 0x11001AF4u);
    EXPECT_EQ(read(0, 0, 0x04, 2), 0x0006u);
    EXPECT_EQ(read(0, 0, 0x06, 2), 0x0280u);
    EXPECT_EQ(read(1, 0, 0x00, 4), 0x70008086u);
    EXPECT_EQ(read(1, 0, 0x0E, 1), 0x80u);
    EXPECT_EQ(read(1, 0, 0x0A, 2), 0x0601u);
    EXPECT_EQ(read(1, 3, 0x00, 4), 0x71138086u);
    EXPECT_EQ(read(1, 3, 0x0A, 2), 0x0680u);
}

// The bit could be written, and nothing heard of it: port B2h never raised an SMI.
TEST_F(PciTest, ApmEnableReachesThePowerManagementBlock) {
    bool enabled = false;
    pm.set_apm_enable_hook([&](bool on) { enabled = on; });
    write(1, 3, 0x58, 1u << 25, 4);
    EXPECT_TRUE(enabled);
    write(1, 3, 0x5B, 0, 1);
    EXPECT_FALSE(enabled);
    write(1, 3, 0x5B, 2, 1);
    EXPECT_TRUE(enabled);
    pm.reset();
    EXPECT_FALSE(enabled);
}

TEST_F(PciTest, AbsentFunctionsAndBusesReadAllOnes) {
    EXPECT_EQ(read(1, 1, 0, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(read(31, 7, 0, 2), 0xFFFFu);
    address(0, 0, 0, 1);
    EXPECT_EQ(ports.read(0xCFC, 4), 0xFFFF'FFFFu);
    write(31, 7, 0x3C, 1, 1);
}

TEST_F(PciTest, ConfaddIsADoublewordAndNothingElse) {
    ports.write(0xCF8, 0x8000'0000, 4);
    ports.write(0xCFB, 0x01, 1);
    EXPECT_EQ(ports.read(0xCF8, 4), 0x8000'0000u);
    EXPECT_EQ(ports.read(0xCF8, 1), 0xFFu);
    ports.write(0xCF8, 0xFFFF'FFFF, 4);
    EXPECT_EQ(ports.read(0xCF8, 4), 0x80FF'FFFCu);
}

TEST_F(PciTest, WithoutEnableThereIsNoConfigurationAccess) {
    ports.write(0xCF8, 0x0000'0000, 4);
    EXPECT_EQ(ports.read(0xCFC, 4), 0xFFFF'FFFFu);
}

TEST_F(PciTest, TheResetRegisterLiesInsideConfadd) {
    int resets = 0;
    ResetControl control(log, [&](bool hard) { resets += hard ? 1 : 100; });
    ports.map(0xCF9, 1, control, "reset");
    ports.write(0xCF8, 0x8000'0600, 4); // Would be a reset, taken as bytes.
    EXPECT_EQ(resets, 0);
    ports.write(0xCF9, 0x02, 1);
    EXPECT_EQ(resets, 0);
    EXPECT_EQ(ports.read(0xCF9, 1), 0x02u);
    ports.write(0xCF9, 0x06, 1);
    EXPECT_EQ(resets, 1);
    ports.write(0xCF9, 0x04, 1);
    EXPECT_EQ(resets, 101);
    ports.unmap(control);
}

TEST_F(PciTest, IdentifiersCannotBeWritten) {
    write(0, 0, 0x00, 0, 4);
    write(0, 0, 0x08, 0, 4);
    write(0, 0, 0x0E, 0x80, 1);
    EXPECT_EQ(read(0, 0, 0x00, 4), 0x12378086u);
    EXPECT_EQ(read(0, 0, 0x08, 4), 0x06000002u);
    EXPECT_EQ(read(0, 0, 0x0E, 1), 0x00u);
}

TEST_F(PciTest, PamRegistersShapeTheFirstMegabyte) {
    write(0, 0, 0x59, 0x10, 1); // F0000: read RAM, write ROM.
    write(0, 0, 0x5A, 0x32, 1); // C0000: write; C4000: both.
    EXPECT_EQ(shaper.calls, 2u);
    const auto& segments = shaper.shape.segments;
    EXPECT_EQ(segments[12], (MemoryShape::Segment{0xF0000, 0x10000, true, false}));
    EXPECT_EQ(segments[0], (MemoryShape::Segment{0xC0000, 0x4000, false, true}));
    EXPECT_EQ(segments[1], (MemoryShape::Segment{0xC4000, 0x4000, true, true}));
    EXPECT_EQ(segments[11], (MemoryShape::Segment{0xEC000, 0x4000, false, false}));
    write(0, 0, 0x5A, 0x32, 1);
    EXPECT_EQ(shaper.calls, 2u) << "nothing changed";
    write(0, 0, 0x58, 0xFFFFFFFF, 4); // The doubleword holds PAM0-PAM2 too.
    EXPECT_EQ(shaper.calls, 3u);
    EXPECT_EQ(read(0, 0, 0x59, 1), 0x70u);
    host.reset();
    EXPECT_FALSE(shaper.shape.segments[12].read_ram);
}

TEST_F(PciTest, SmramLockClosesAndHolds) {
    EXPECT_EQ(read(0, 0, 0x72, 1), 0x02u);
    write(0, 0, 0x72, 0x4A, 1);
    EXPECT_TRUE(shaper.shape.smram_enabled);
    EXPECT_TRUE(shaper.shape.smram_open);
    write(0, 0, 0x72, 0x5A, 1);
    EXPECT_EQ(read(0, 0, 0x72, 1), 0x1Au);
    EXPECT_FALSE(shaper.shape.smram_open);
    write(0, 0, 0x72, 0x4A, 1);
    EXPECT_EQ(read(0, 0, 0x72, 1), 0x1Au) << "D_LCK holds until reset";
    host.reset();
    EXPECT_EQ(read(0, 0, 0x72, 1), 0x02u);
}

TEST_F(PciTest, PirqRoutesFollowTheRegisters) {
    EXPECT_EQ(piix3.route(0), -1);
    EXPECT_EQ(read(1, 0, 0x60, 4), 0x80808080u);
    piix3.set_irq(0, true);
    EXPECT_TRUE(router.edges.empty());
    write(1, 0, 0x60, 10, 1);
    EXPECT_TRUE(router.level(10));
    write(1, 0, 0x60, 11, 1);
    EXPECT_FALSE(router.level(10));
    EXPECT_TRUE(router.level(11));
    write(1, 0, 0x61, 11, 1);
    piix3.set_irq(1, true);
    piix3.set_irq(0, false);
    EXPECT_TRUE(router.level(11)) << "the line is shared";
    piix3.set_irq(1, false);
    EXPECT_FALSE(router.level(11));
    write(1, 0, 0x60, 0xFF, 1);
    EXPECT_EQ(read(1, 0, 0x60, 1), 0x8Fu);
}

TEST_F(PciTest, PowerManagementBlockIsPlacedByItsRegisters) {
    EXPECT_EQ(read(1, 3, 0x40, 4), 0x00000001u);
    write(1, 3, 0x40, 0xFFFFFFFF, 4);
    EXPECT_EQ(read(1, 3, 0x40, 4), 0x0000FFC1u);
    write(1, 3, 0x40, 0x0601, 4);
    EXPECT_FALSE(pm.pm_base());
    write(1, 3, 0x80, 0x01, 1);
    ASSERT_TRUE(pm.pm_base());
    EXPECT_EQ(*pm.pm_base(), 0x600u);
    EXPECT_EQ(ports.read(0x608, 4), 0x58u);
    EXPECT_EQ(ports.read(0x640, 1), 0xFFu);
    write(1, 3, 0x40, 0xB001, 4);
    EXPECT_EQ(ports.read(0xB000, 1), 0x50u);
    EXPECT_EQ(ports.read(0x608, 1), 0xFFu);
    const auto saved = test::save(pm);
    pm.reset();
    EXPECT_FALSE(pm.pm_base());
    EXPECT_TRUE(test::load(pm, saved).ok());
    EXPECT_EQ(ports.read(0xB000, 1), 0x50u);
}

PciDescriptor card(Scratch& io, Scratch& mem, Scratch& wide) {
    PciDescriptor d;
    d.name = "card";
    d.vendor_id = 0x1234;
    d.device_id = 0x5678;
    d.class_code = 0x020000;
    d.interrupt_pin = 1;
    d.bars[0] = {PciBar::Kind::io, 32, false, &io};
    d.bars[1] = {PciBar::Kind::memory32, 0x1000, false, &mem};
    d.bars[2] = {PciBar::Kind::memory64, 0x10000, true, &wide};
    d.capabilities.push_back({pci::CAPABILITY_VENDOR, {0x10, 0x20}, {0x00, 0xF0}, {}});
    d.capabilities.push_back({pci::CAPABILITY_PM, {0x03, 0x00, 0x00, 0x00}, {0x00, 0x00, 0x03, 0x01}, {0, 0, 0, 0x80}});
    return d;
}

class PciCardTest : public PciTest {
  protected:
    PciCardTest() { EXPECT_TRUE(pci.attach(function, 3, 0).ok()); }
    Scratch io, mem, wide;
    PciFunction function{card(io, mem, wide), log};
};

TEST_F(PciCardTest, BarsTellTheirSizes) {
    for (unsigned bar = 0; bar < 6; ++bar)
        write(3, 0, 0x10 + 4 * bar, 0xFFFF'FFFF, 4);
    EXPECT_EQ(read(3, 0, 0x10, 4), 0xFFFF'FFE1u);
    EXPECT_EQ(read(3, 0, 0x14, 4), 0xFFFF'F000u);
    EXPECT_EQ(read(3, 0, 0x18, 4), 0xFFFF'000Cu);
    EXPECT_EQ(read(3, 0, 0x1C, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(read(3, 0, 0x20, 4), 0u);
    EXPECT_EQ(read(3, 0, 0x24, 4), 0u);
    EXPECT_EQ(read(3, 0, 0x30, 4), 0u);
}

TEST_F(PciCardTest, BarsAreDecodedWhileCommandSaysSo) {
    write(3, 0, 0x10, 0xC000, 4);
    write(3, 0, 0x14, 0xFEB0'0000, 4);
    write(3, 0, 0x18, 0x0000'0000, 4);
    write(3, 0, 0x1C, 0x0000'0008, 4);
    EXPECT_EQ(ports.read(0xC004, 1), 0xFFu);
    write(3, 0, 0x04, 0x0001, 2);
    EXPECT_EQ(ports.read(0xC004, 1), 0x54u);
    EXPECT_EQ(memory.read(0xFEB0'0000, 1), 0xFFu);
    write(3, 0, 0x04, 0x0003, 2);
    EXPECT_EQ(memory.read(0xFEB0'0FF0, 2), 0x50u + 0xFF0u);
    EXPECT_EQ(memory.read(0x8'0000'0010, 1), 0x60u);
    write(3, 0, 0x10, 0xD000, 4);
    EXPECT_EQ(ports.read(0xC004, 1), 0xFFu);
    EXPECT_EQ(ports.read(0xD004, 1), 0x54u);
    function.reset();
    EXPECT_EQ(ports.read(0xD004, 1), 0xFFu);
    EXPECT_TRUE(memory.ranges().empty());
}

// Sizing with decoding on would lay the BAR over the boot ROM at the top of 4 GiB.
TEST_F(PciCardTest, ABarThatIsBeingSizedDecodesNothing) {
    write(3, 0, 0x04, 0x0003, 2);
    write(3, 0, 0x14, 0xFFFF'FFFF, 4);
    write(3, 0, 0x10, 0xFFFF'FFFF, 4);
    EXPECT_TRUE(memory.ranges().empty());
    EXPECT_EQ(ports.ranges().size(), 2u); // CF8 and CFC.
}

TEST_F(PciCardTest, CapabilitiesFormAList) {
    EXPECT_EQ(read(3, 0, 0x06, 2) & 0x10, 0x10u);
    const u32 first = read(3, 0, 0x34, 1);
    EXPECT_EQ(first, 0x40u);
    EXPECT_EQ(read(3, 0, first, 1), pci::CAPABILITY_VENDOR);
    const u32 second = read(3, 0, first + 1, 1);
    EXPECT_EQ(read(3, 0, second, 1), pci::CAPABILITY_PM);
    EXPECT_EQ(read(3, 0, second + 1, 1), 0u);
    EXPECT_EQ(function.capability_offset(pci::CAPABILITY_PM), second);
    EXPECT_EQ(function.capability_offset(pci::CAPABILITY_MSI), 0u);
    write(3, 0, first + 2, 0xFFFF, 2);
    EXPECT_EQ(read(3, 0, first + 2, 2), 0xF010u);
    function.set_register(second + 5, 0x80, 1);
    write(3, 0, second + 5, 0x80, 1);
    EXPECT_EQ(read(3, 0, second + 5, 1), 0u) << "written ones clear";
}

TEST_F(PciCardTest, InterruptPinGoesThroughTheSlotsPirq) {
    write(1, 0, 0x62, 5, 1); // Device 3, INTA#: (0 + 3 - 1) mod 4 = 2, PIRQC#.
    function.set_intx(true);
    EXPECT_TRUE(router.level(5));
    EXPECT_EQ(read(3, 0, 0x06, 2) & 8, 8u);
    write(3, 0, 0x04, 0x0400, 2);
    EXPECT_FALSE(router.level(5));
    EXPECT_EQ(read(3, 0, 0x06, 2) & 8, 8u) << "the status shows the pin all the same";
    write(3, 0, 0x04, 0x0000, 2);
    EXPECT_TRUE(router.level(5));
    function.set_intx(false);
    EXPECT_FALSE(router.level(5));
}

TEST_F(PciCardTest, TwoFunctionsShareALine) {
    PciDescriptor d;
    d.name = "other";
    d.interrupt_pin = 1;
    PciFunction other(d, log);
    ASSERT_TRUE(pci.attach(other, 7, 0).ok()); // (0 + 7 - 1) mod 4 = 2.
    write(1, 0, 0x62, 5, 1);
    function.set_intx(true);
    other.set_intx(true);
    function.set_intx(false);
    EXPECT_TRUE(router.level(5));
    EXPECT_EQ(router.edge_count(5), 1u);
    other.set_intx(false);
    EXPECT_FALSE(router.level(5));
}

TEST_F(PciCardTest, ASlotTakesOneFunction) {
    PciFunction other(PciDescriptor{}, log);
    EXPECT_FALSE(pci.attach(other, 3, 0).ok());
    EXPECT_FALSE(pci.attach(other, 32, 0).ok());
}

TEST_F(PciCardTest, SaveAndLoadPutBarsAndLinesBack) {
    write(1, 0, 0x62, 5, 1);
    write(3, 0, 0x10, 0xC000, 4);
    write(3, 0, 0x04, 0x0001, 2);
    write(3, 0, 0x3C, 0x0B, 1);
    function.set_intx(true);
    Archive saver = Archive::saver();
    function.serialize(saver);
    piix3.serialize(saver);
    pci.serialize(saver);
    const auto bytes = saver.take();
    function.reset();
    piix3.reset();
    EXPECT_FALSE(router.level(5));
    EXPECT_EQ(ports.read(0xC004, 1), 0xFFu);
    Archive loader = Archive::loader(bytes);
    function.serialize(loader);
    piix3.serialize(loader);
    pci.serialize(loader);
    ASSERT_TRUE(loader.ok()) << loader.result().error().message;
    EXPECT_EQ(ports.read(0xC004, 1), 0x54u);
    EXPECT_TRUE(router.level(5));
    EXPECT_EQ(read(3, 0, 0x3C, 1), 0x0Bu);
    function.set_intx(false);
    EXPECT_FALSE(router.level(5));
}

TEST_F(PciCardTest, AnotherCardsStateIsRefused) {
    Archive saver = Archive::saver();
    PciDescriptor d;
    d.name = "card";
    PciFunction other(d, log);
    other.serialize(saver);
    Archive loader = Archive::loader(saver.take());
    function.serialize(loader);
    EXPECT_FALSE(loader.ok());
}

TEST_F(PciTest, HostBridgeRoundTrip) {
    write(0, 0, 0x59, 0x30, 1);
    write(0, 0, 0x72, 0x1A, 1);
    const auto saved = test::save(host);
    host.reset();
    EXPECT_TRUE(test::load(host, saved).ok());
    EXPECT_TRUE(shaper.shape.segments[12].write_ram);
    write(0, 0, 0x72, 0x4A, 1);
    EXPECT_EQ(read(0, 0, 0x72, 1), 0x1Au) << "the lock was loaded";
}

} // namespace
} // namespace calque::devices
