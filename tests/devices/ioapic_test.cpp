#include "devices/ioapic/ioapic.h"
#include "tests/devices/irq_test_support.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

class IoApicTest : public ::testing::Test {
  protected:
    IoApicTest() { memory.map(IoApic::default_base, IoApic::mmio_size, ioapic.mmio(), "ioapic"); }
    void write(u8 index, u32 value) {
        memory.write(IoApic::default_base, index, 4);
        memory.write(IoApic::default_base + 0x10, value, 4);
    }
    u32 read(u8 index) {
        memory.write(IoApic::default_base, index, 4);
        return static_cast<u32>(memory.read(IoApic::default_base + 0x10, 4));
    }
    void entry(unsigned pin, u32 low, u32 high = 0) {
        write(static_cast<u8>(0x11 + 2 * pin), high);
        write(static_cast<u8>(0x10 + 2 * pin), low);
    }
    static constexpr u32 level = 1 << 15, masked = 1 << 16, remote_irr = 1 << 14;

    Log log;
    Bus memory{Bus::Kind::memory, log};
    RecordingMsi apics;
    ManualClock clock;
    IoApic ioapic{log, clock, apics};
};

TEST_F(IoApicTest, IdentifiesItself) {
    EXPECT_EQ(read(0x01), 0x0017'0020u);
    write(0x00, 0xffff'ffff);
    EXPECT_EQ(read(0x00), 0x0f00'0000u);
    EXPECT_EQ(read(0x02), 0x0f00'0000u);
    EXPECT_EQ(memory.read(IoApic::default_base, 4), 0x02u) << "the selector reads back";
    EXPECT_EQ(read(0x10), masked);
    EXPECT_EQ(read(0x3e), masked);
}

TEST_F(IoApicTest, AnEdgeSendsOneMessage) {
    entry(4, 0x0934, 0x0300'0000); // Vector 34h, lowest priority, logical destination 3.
    ioapic.set_irq(4, true);
    ASSERT_EQ(apics.messages.size(), 1u);
    EXPECT_EQ(apics.messages[0], (RecordingMsi::Message{0xfee0'3004, 0x134}));
    ioapic.set_irq(4, true);
    EXPECT_EQ(apics.messages.size(), 1u);
    ioapic.set_irq(4, false), ioapic.set_irq(4, true);
    EXPECT_EQ(apics.messages.size(), 2u);
}

TEST_F(IoApicTest, AnEdgeWhileMaskedIsLost) {
    entry(4, 0x34 | masked);
    ioapic.set_irq(4, true);
    entry(4, 0x34);
    EXPECT_TRUE(apics.messages.empty());
}

TEST_F(IoApicTest, ALevelIsSentAgainAfterItsEoiWhileItStands) {
    entry(17, 0x51 | level);
    ioapic.set_irq(17, true);
    ASSERT_EQ(apics.messages.size(), 1u);
    EXPECT_EQ(apics.messages[0].data, 0xc051u);
    EXPECT_EQ(read(0x10 + 34), 0x51 | level | remote_irr);
    ioapic.eoi(0x50);
    EXPECT_EQ(apics.messages.size(), 1u) << "another vector";
    ioapic.eoi(0x51);
    EXPECT_EQ(apics.messages.size(), 2u);
    ioapic.set_irq(17, false);
    ioapic.eoi(0x51);
    EXPECT_EQ(apics.messages.size(), 2u);
    EXPECT_EQ(read(0x10 + 34), 0x51 | level);
}

TEST_F(IoApicTest, ALevelThatStandsIsSentWhenUnmasked) {
    entry(17, 0x51 | level | masked);
    ioapic.set_irq(17, true);
    EXPECT_TRUE(apics.messages.empty());
    entry(17, 0x51 | level);
    EXPECT_EQ(apics.messages.size(), 1u);
}

TEST_F(IoApicTest, TheEoiRegisterClearsRemoteIrr) {
    entry(17, 0x51 | level);
    ioapic.set_irq(17, true);
    ioapic.set_irq(17, false);
    memory.write(IoApic::default_base + 0x40, 0x51, 4);
    EXPECT_EQ(read(0x10 + 34), 0x51 | level);
}

TEST_F(IoApicTest, ChangingToEdgeAndBackClearsRemoteIrr) {
    entry(17, 0x51 | level);
    ioapic.set_irq(17, true);
    entry(17, 0x51 | level | masked);
    EXPECT_TRUE(read(0x10 + 34) & remote_irr);
    entry(17, 0x51 | masked);
    entry(17, 0x51 | level | masked);
    EXPECT_FALSE(read(0x10 + 34) & remote_irr);
}

TEST_F(IoApicTest, StatusBitsAreReadOnly) {
    entry(3, 0xffff'ffff, 0xffff'ffff);
    EXPECT_EQ(read(0x16), 0x1afffu);
    EXPECT_EQ(read(0x17), 0xff00'0000u);
}

TEST_F(IoApicTest, NmiAndExtIntAreEdgesEvenWhenProgrammedAsLevel) {
    entry(5, 0x400 | level);
    ioapic.set_irq(5, true);
    ASSERT_EQ(apics.messages.size(), 1u);
    EXPECT_EQ(apics.messages[0].data, 0x400u);
    EXPECT_FALSE(read(0x1a) & remote_irr);
    entry(0, 0x700);
    ioapic.set_irq(0, true);
    EXPECT_EQ(apics.messages.back().data, 0x700u);
}

TEST_F(IoApicTest, OutOfRangeIndexesAndPinsDoNothing) {
    write(0x40, 0);
    EXPECT_EQ(read(0x40), 0xffff'ffffu);
    EXPECT_EQ(read(0xff), 0xffff'ffffu);
    ioapic.set_irq(24, true);
    EXPECT_TRUE(apics.messages.empty());
}

// Debian's 8139cp can unmask its interrupt while its poll is scheduled already: the handler leaves the device as it is.
TEST_F(IoApicTest, AProgramGetsOnUnderALineThatNoHandlerLowers) {
    entry(17, 0x51 | level);
    ioapic.set_irq(17, true);
    for (u32 round = 0; round < 2 * IoApic::storm; ++round)
        ioapic.eoi(0x51);
    EXPECT_EQ(apics.messages.size(), IoApic::storm) << "the first, and what was sent again at once";
    for (std::size_t sent = IoApic::storm; sent < IoApic::storm + 3; ++sent) {
        clock.advance(IoApic::storm_pause - 1);
        EXPECT_EQ(apics.messages.size(), sent) << "the program has its time";
        clock.advance(1);
        EXPECT_EQ(apics.messages.size(), sent + 1) << "and the request is not lost";
        ioapic.eoi(0x51);
    }
}

TEST_F(IoApicTest, ALineThatWasLowIsNoStorm) {
    entry(17, 0x51 | level);
    for (u32 round = 0; round < 2 * IoApic::storm; ++round) {
        ioapic.set_irq(17, true);
        ioapic.set_irq(17, false);
        ioapic.set_irq(17, true);
        ioapic.eoi(0x51);
        ioapic.set_irq(17, false);
        ioapic.eoi(0x51);
    }
    EXPECT_EQ(apics.messages.size(), 4 * IoApic::storm);
    // Nor does what waited outlive the line's fall.
    ioapic.set_irq(17, true);
    for (u32 round = 0; round < IoApic::storm; ++round)
        ioapic.eoi(0x51);
    ioapic.set_irq(17, false);
    ioapic.set_irq(17, true);
    EXPECT_EQ(apics.messages.size(), 5 * IoApic::storm + 1);
    clock.advance(IoApic::storm_pause);
    EXPECT_EQ(apics.messages.size(), 5 * IoApic::storm + 1);
}

TEST_F(IoApicTest, WhatWaitedInAStormIsSentAfterLoading) {
    entry(17, 0x51 | level);
    ioapic.set_irq(17, true);
    for (u32 round = 0; round < IoApic::storm; ++round)
        ioapic.eoi(0x51);
    RecordingMsi other_apics;
    IoApic other(log, clock, other_apics);
    expect_round_trip(ioapic, other);
    clock.advance(IoApic::storm_pause);
    EXPECT_EQ(other_apics.messages.size(), 1u);
}

TEST_F(IoApicTest, SavedAndLoaded) {
    entry(17, 0x51 | level, 0x0100'0000);
    ioapic.set_irq(17, true);
    write(0x00, 0x0200'0000);
    RecordingMsi other_apics;
    IoApic other(log, clock, other_apics);
    expect_round_trip(ioapic, other);
    EXPECT_TRUE(other_apics.messages.empty());
    other.eoi(0x51);
    EXPECT_EQ(other_apics.messages.size(), 1u);
}

} // namespace
