#include "devices/i8259/i8259.h"
#include "tests/devices/irq_test_support.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

class I8259Test : public ::testing::Test {
  protected:
    I8259Test() {
        ports.map(0x20, 2, pair.master_ports(), "i8259 master");
        ports.map(0xa0, 2, pair.slave_ports(), "i8259 slave");
        ports.map(0x4d0, 2, pair.elcr_ports(), "elcr");
        initialise();
    }
    void out(u16 port, u8 value) { ports.write(port, value, 1); }
    u8 in(u16 port) { return static_cast<u8>(ports.read(port, 1)); }
    void initialise(u8 icw4_master = 0x01, u8 icw4_slave = 0x01) {
        out(0x20, 0x11), out(0x21, 0x20), out(0x21, 0x04), out(0x21, icw4_master);
        out(0xa0, 0x11), out(0xa1, 0x28), out(0xa1, 0x02), out(0xa1, icw4_slave);
    }
    void raise(unsigned irq) { pair.set_irq(irq, true); }
    void lower(unsigned irq) { pair.set_irq(irq, false); }
    u8 irr(u16 port = 0x20) { return out(port, 0x0a), in(port); }
    u8 isr(u16 port = 0x20) { return out(port, 0x0b), in(port); }
    bool intr() { return sink.level(0); }

    Log log;
    Bus ports{Bus::Kind::ports, log};
    RecordingSink sink;
    I8259Pair pair{log, IrqLine(sink, 0)};
};

TEST_F(I8259Test, AnEdgeIsServedWithTheVectorOfIcw2) {
    raise(0);
    EXPECT_TRUE(intr());
    EXPECT_EQ(irr(), 0x01);
    EXPECT_EQ(pair.acknowledge(), 0x20);
    EXPECT_EQ(irr(), 0x00);
    EXPECT_EQ(isr(), 0x01);
    EXPECT_FALSE(intr());
    out(0x20, 0x20);
    EXPECT_EQ(isr(), 0x00);
    EXPECT_FALSE(intr()) << "the line is still high, but there was no new edge";
    lower(0), raise(0);
    EXPECT_TRUE(intr());
}

TEST_F(I8259Test, TheSlaveAnswersThroughTheCascade) {
    raise(12);
    EXPECT_EQ(pair.acknowledge(), 0x2c);
    EXPECT_EQ(isr(), 0x04);
    EXPECT_EQ(isr(0xa0), 0x10);
    out(0xa0, 0x20), out(0x20, 0x20);
    EXPECT_EQ(isr(), 0);
    EXPECT_EQ(isr(0xa0), 0);
}

TEST_F(I8259Test, PrioritiesAreFullyNested) {
    raise(5);
    EXPECT_EQ(pair.acknowledge(), 0x25);
    raise(6);
    EXPECT_FALSE(intr()) << "6 is below 5, which is in service";
    raise(3);
    EXPECT_EQ(pair.acknowledge(), 0x23);
    out(0x20, 0x20);
    EXPECT_EQ(isr(), 0x20) << "a non-specific EOI ends the highest";
    out(0x20, 0x20);
    EXPECT_EQ(pair.acknowledge(), 0x26);
}

TEST_F(I8259Test, TheMaskHoldsARequestBack) {
    out(0x21, 0x10);
    EXPECT_EQ(in(0x21), 0x10);
    raise(4);
    EXPECT_FALSE(intr());
    EXPECT_EQ(irr(), 0x10);
    out(0x21, 0x00);
    EXPECT_TRUE(intr());
    EXPECT_EQ(pair.acknowledge(), 0x24);
}

TEST_F(I8259Test, ARequestThatGoesAwayIsSpuriousIrq7) {
    raise(3);
    lower(3);
    EXPECT_FALSE(intr());
    EXPECT_EQ(pair.acknowledge(), 0x27);
    EXPECT_EQ(isr(), 0x00) << "a spurious interrupt is not in service";
}

TEST_F(I8259Test, MaskingAtTheSlaveWithdrawsTheRequestFromTheMaster) {
    raise(14);
    out(0xa1, 0x40);
    EXPECT_FALSE(intr());
    EXPECT_EQ(irr(), 0x00);
    EXPECT_EQ(irr(0xa0), 0x40);
    out(0xa1, 0x00);
    EXPECT_TRUE(intr());
    EXPECT_EQ(pair.acknowledge(), 0x2e);
}

TEST_F(I8259Test, LevelTriggeredInputsRequestAgainWhileTheyAreHigh) {
    out(0x4d0, 0xff), out(0x4d1, 0xff);
    EXPECT_EQ(in(0x4d0), 0xf8) << "IRQ 0, 1 and 2 are always edges";
    EXPECT_EQ(in(0x4d1), 0xde) << "so are IRQ 8 and 13";
    raise(11);
    EXPECT_EQ(pair.acknowledge(), 0x2b);
    EXPECT_FALSE(intr());
    out(0xa0, 0x20), out(0x20, 0x20);
    EXPECT_TRUE(intr());
    EXPECT_EQ(pair.acknowledge(), 0x2b);
    lower(11);
    out(0xa0, 0x20), out(0x20, 0x20);
    EXPECT_FALSE(intr());
}

TEST_F(I8259Test, RotationMovesTheServedInputToTheEnd) {
    raise(2); // The cascade input has no line of its own.
    EXPECT_FALSE(intr());
    raise(4), raise(5);
    EXPECT_EQ(pair.acknowledge(), 0x24);
    out(0x20, 0xa0); // Rotate on non-specific EOI.
    lower(4), raise(4);
    EXPECT_EQ(pair.acknowledge(), 0x25) << "4 is the lowest now";
    out(0x20, 0xe5); // Rotate on specific EOI of 5.
    EXPECT_EQ(pair.acknowledge(), 0x24);
    out(0x20, 0x20);
    out(0x20, 0xc2); // Set priority: 2 is the lowest, 3 the highest.
    lower(3), raise(3), raise(0);
    EXPECT_EQ(pair.acknowledge(), 0x23);
}

TEST_F(I8259Test, SpecialMaskModeLetsLowerPrioritiesThrough) {
    raise(1);
    EXPECT_EQ(pair.acknowledge(), 0x21);
    raise(6);
    EXPECT_FALSE(intr());
    out(0x21, 0x02);
    out(0x20, 0x68); // Set special mask mode.
    EXPECT_TRUE(intr());
    EXPECT_EQ(pair.acknowledge(), 0x26);
    out(0x20, 0x20);
    EXPECT_EQ(isr(), 0x02) << "a non-specific EOI passes over the masked level";
    out(0x20, 0x61);
    EXPECT_EQ(isr(), 0x00);
    out(0x20, 0x48);
}

TEST_F(I8259Test, AutomaticEoiLeavesNothingInService) {
    initialise(0x03);
    raise(3);
    EXPECT_EQ(pair.acknowledge(), 0x23);
    EXPECT_EQ(isr(), 0);
    out(0x20, 0x80); // Rotate in automatic EOI mode.
    lower(3), raise(3), raise(4);
    EXPECT_EQ(pair.acknowledge(), 0x23);
    lower(3), raise(3);
    EXPECT_EQ(pair.acknowledge(), 0x24);
}

TEST_F(I8259Test, PollServesAndClearsTheRequest) {
    out(0x20, 0x0c);
    EXPECT_EQ(in(0x20), 0x00);
    raise(6);
    out(0x20, 0x0c);
    EXPECT_EQ(in(0x20), 0x86);
    EXPECT_FALSE(intr());
    EXPECT_EQ(isr(), 0x40);
    raise(9);
    out(0xa0, 0x0c);
    EXPECT_EQ(in(0xa0), 0x81);
    EXPECT_FALSE(intr()) << "the slave's INT went down again";
}

TEST_F(I8259Test, SpecialFullyNestedModeLetsTheSlaveInterruptItself) {
    initialise(0x11);
    raise(15);
    EXPECT_EQ(pair.acknowledge(), 0x2f);
    raise(8);
    EXPECT_TRUE(intr()) << "8 is above 15";
    EXPECT_EQ(pair.acknowledge(), 0x28);
}

TEST_F(I8259Test, TwoSlaveRequestsAreServedOneAfterTheOther) {
    raise(14), raise(15);
    EXPECT_EQ(pair.acknowledge(), 0x2e);
    EXPECT_FALSE(intr());
    out(0xa0, 0x20), out(0x20, 0x20);
    EXPECT_EQ(pair.acknowledge(), 0x2f);
}

TEST_F(I8259Test, TheIntPinFallsWithEveryAcknowledge) {
    initialise(0x03);
    raise(3), raise(4);
    EXPECT_EQ(sink.rises(0), 1u);
    pair.acknowledge();
    EXPECT_TRUE(intr());
    EXPECT_EQ(sink.rises(0), 2u) << "the second request is an edge for an IOAPIC's pin";
}

TEST_F(I8259Test, InitialisationForgetsEdgesAndMasks) {
    out(0x21, 0xff);
    raise(3);
    out(0x20, 0x11);
    EXPECT_FALSE(intr());
    out(0x21, 0x40), out(0x21, 0x04), out(0x21, 0x01);
    EXPECT_EQ(in(0x21), 0x00);
    EXPECT_FALSE(intr()) << "the edge sense circuit was reset";
    lower(3), raise(3);
    EXPECT_EQ(pair.acknowledge(), 0x43);
}

TEST_F(I8259Test, ResetKeepsTheLinesButNoRequest) {
    raise(3);
    pair.reset();
    EXPECT_FALSE(intr());
    initialise();
    raise(3);
    EXPECT_FALSE(intr()) << "the line did not rise";
}

TEST_F(I8259Test, SavedAndLoadedInTheMiddleOfEverything) {
    out(0x4d1, 0x08);
    raise(11), raise(1);
    pair.acknowledge();
    out(0xa0, 0x11); // An initialisation that is not finished.
    RecordingSink other_sink;
    I8259Pair other(log, IrqLine(other_sink, 0));
    expect_round_trip(pair, other);
    EXPECT_EQ(other_sink.level(0), intr());
    EXPECT_EQ(other.snapshot()[0].isr, 0x02);
    EXPECT_EQ(other.snapshot()[1].next_icw, 2);
}

TEST_F(I8259Test, AnImpossibleSavedStateIsRefused) {
    std::vector<u8> data = save(pair);
    EXPECT_FALSE(load(pair, std::vector<u8>(data.begin(), data.end() - 1)).ok());
}

} // namespace
