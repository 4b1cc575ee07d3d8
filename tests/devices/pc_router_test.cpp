#include "devices/pc_router/pc_router.h"
#include "tests/devices/irq_test_support.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

class PcRouterTest : public ::testing::Test {
  protected:
    PcRouterTest() { ports.map(0xf0, 2, router.coprocessor_ports(), "coprocessor"); }
    void set(unsigned input, bool level) { router.set_irq(input, level); }

    Log log;
    Bus ports{Bus::Kind::ports, log};
    RecordingSink pic, ioapic, cpu;
    PcRouter router{log, pic, ioapic, IrqLine(cpu, 0)};
};

TEST_F(PcRouterTest, IsaIrqsGoToBothControllers) {
    set(PcRouter::isa + 4, true);
    EXPECT_TRUE(pic.level(4));
    EXPECT_TRUE(ioapic.level(4));
    set(PcRouter::isa + 4, false);
    EXPECT_FALSE(pic.level(4));
    EXPECT_FALSE(ioapic.level(4));
}

TEST_F(PcRouterTest, Irq0IsPin2OfTheIoApic) {
    set(PcRouter::isa + 0, true);
    EXPECT_TRUE(pic.level(0));
    EXPECT_TRUE(ioapic.level(2));
    EXPECT_FALSE(ioapic.level(0));
    set(PcRouter::isa + 2, true);
    EXPECT_FALSE(pic.level(2)) << "the cascade";
}

TEST_F(PcRouterTest, GsisAbove15GoToTheIoApicOnly) {
    set(PcRouter::gsi + 21, true);
    EXPECT_TRUE(ioapic.level(21));
    EXPECT_TRUE(pic.levels.empty());
}

TEST_F(PcRouterTest, PirqsAreSteeredAndShared) {
    router.set_pirq_route(1, u8{11});
    set(PcRouter::pirq + 1, true);
    EXPECT_TRUE(pic.level(11));
    EXPECT_TRUE(ioapic.level(11));
    EXPECT_TRUE(ioapic.level(17));
    set(PcRouter::isa + 11, true);
    set(PcRouter::pirq + 1, false);
    EXPECT_TRUE(pic.level(11)) << "still asserted by the ISA device";
    set(PcRouter::isa + 11, false);
    EXPECT_FALSE(pic.level(11));
    set(PcRouter::pirq + 1, true);
    router.set_pirq_route(1, u8{10});
    EXPECT_FALSE(pic.level(11));
    EXPECT_TRUE(pic.level(10));
    router.set_pirq_route(1, std::nullopt);
    EXPECT_FALSE(pic.level(10));
    EXPECT_TRUE(ioapic.level(17));
}

TEST_F(PcRouterTest, HpetLegacyModeTakesIrq0AndIrq8) {
    set(PcRouter::hpet_legacy_mode, true);
    set(PcRouter::isa + 0, true), set(PcRouter::isa + 8, true);
    EXPECT_FALSE(pic.level(0));
    EXPECT_FALSE(pic.level(8));
    set(PcRouter::hpet_legacy_irq0, true), set(PcRouter::hpet_legacy_irq8, true);
    EXPECT_TRUE(pic.level(0));
    EXPECT_TRUE(ioapic.level(2));
    EXPECT_TRUE(pic.level(8));
    EXPECT_TRUE(ioapic.level(8));
    set(PcRouter::hpet + 20, true);
    EXPECT_TRUE(ioapic.level(20));
    set(PcRouter::isa + 0, false);
    set(PcRouter::hpet_legacy_mode, false);
    EXPECT_FALSE(pic.level(0));
    EXPECT_TRUE(pic.level(8)) << "the clock's line is still high";
}

// The host let the processor stand, and the guest's time lagged.
TEST_F(PcRouterTest, TicksThatFindTheOneBeforeWaitingAreGivenAgain) {
    bool listens = true;
    router.set_timer_listens([&] { return listens; });
    const auto tick = [&] { set(PcRouter::isa + 0, false), set(PcRouter::isa + 0, true); };
    tick(), tick(), tick();
    const unsigned pulses = pic.rises(0);
    EXPECT_EQ(pulses, 3u) << "the lines show what the timer does";
    router.timer_taken();
    EXPECT_EQ(pic.rises(0), pulses + 1);
    EXPECT_EQ(ioapic.rises(2), pulses + 1);
    set(PcRouter::isa + 0, false);
    EXPECT_TRUE(pic.level(0)) << "an edge is withdrawn when its line falls: not before it is taken";
    router.timer_taken();
    EXPECT_EQ(pic.rises(0), pulses + 2);
    router.timer_taken();
    EXPECT_EQ(pic.rises(0), pulses + 2) << "none is due";
    EXPECT_FALSE(pic.level(0));
    EXPECT_FALSE(ioapic.level(2));
    tick();
    EXPECT_EQ(pic.rises(0), pulses + 3);
    router.timer_taken();
    EXPECT_EQ(pic.rises(0), pulses + 3);

    tick(), tick();
    listens = false;
    tick();
    listens = true;
    router.timer_taken();
    EXPECT_EQ(pic.rises(0), pulses + 6) << "masked: nobody wants those that were";
    EXPECT_TRUE(pic.level(0)) << "as the timer drives it";
}

TEST_F(PcRouterTest, ALongStopDoesNotDrownTheGuest) {
    router.set_timer_listens([] { return true; });
    for (unsigned i = 0; i < 10'000; ++i)
        set(PcRouter::isa + 0, true), set(PcRouter::isa + 0, false);
    const unsigned before = pic.rises(0);
    for (unsigned i = 0; i < 10'000; ++i)
        router.timer_taken();
    EXPECT_EQ(pic.rises(0), before + PcRouter::most_ticks);
}

TEST_F(PcRouterTest, FerrIsIrq13UntilPortF0IsWritten) {
    set(PcRouter::ferr, true);
    EXPECT_TRUE(pic.level(13));
    EXPECT_FALSE(cpu.level(0));
    ports.write(0xf0, 0, 1);
    EXPECT_FALSE(pic.level(13));
    EXPECT_TRUE(cpu.level(0)) << "IGNNE#";
    set(PcRouter::ferr, false);
    EXPECT_FALSE(cpu.level(0));
    set(PcRouter::ferr, true), set(PcRouter::ferr, false);
    EXPECT_TRUE(pic.level(13)) << "latched";
    ports.write(0xf0, 0, 1);
    EXPECT_FALSE(pic.level(13));
    EXPECT_FALSE(cpu.level(0)) << "FERR# is not asserted any more";
    EXPECT_EQ(ports.read(0xf0, 1), 0xffu);
}

TEST_F(PcRouterTest, OutOfRangeInputsDoNothing) {
    set(PcRouter::input_count, true);
    router.set_pirq_route(4, u8{5});
    router.set_pirq_route(0, u8{200});
    set(PcRouter::pirq, true);
    EXPECT_TRUE(pic.levels.empty());
}

TEST_F(PcRouterTest, FanoutDrivesAllItsLines) {
    IrqFanout fanout({IrqLine(pic, 3), IrqLine(ioapic, 0)});
    IrqLine(fanout, 0).raise();
    EXPECT_TRUE(pic.level(3));
    EXPECT_TRUE(ioapic.level(0));
}

TEST_F(PcRouterTest, SavedAndLoadedItKnowsWhatTheSinksHave) {
    router.set_pirq_route(2, u8{5});
    set(PcRouter::pirq + 2, true);
    set(PcRouter::ferr, true);
    router.set_timer_listens([] { return true; });
    for (unsigned i = 0; i < 3; ++i)
        set(PcRouter::isa + 0, false), set(PcRouter::isa + 0, true);
    RecordingSink other_pic, other_ioapic;
    PcRouter other(log, other_pic, other_ioapic, IrqLine());
    expect_round_trip(router, other);
    EXPECT_TRUE(other_pic.levels.empty()) << "the sinks load their own inputs";
    other.set_irq(PcRouter::pirq + 2, false);
    EXPECT_EQ(other_pic.levels.count(5), 1u);
    EXPECT_FALSE(other_pic.level(5));
    for (unsigned i = 0; i < 4; ++i)
        other.timer_taken();
    EXPECT_EQ(other_pic.rises(0), 2u) << "the ticks that were due";
}

} // namespace
