#include "devices/i8254/i8254.h"
#include "devices/tick_rate.h"
#include "tests/devices/irq_test_support.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

constexpr TickRate rate{I8254::input_hz};

class I8254Test : public ::testing::Test {
  protected:
    I8254Test() {
        ports.map(0x40, 4, pit.ports(), "i8254");
        ports.map(0x61, 1, pit.port_61(), "port 61");
    }
    void out(u16 port, u8 value) { ports.write(port, value, 1); }
    u8 in(u16 port) { return static_cast<u8>(ports.read(port, 1)); }
    // Moves to `tick` of the input clock.
    void to(u64 tick) { clock.advance(rate.time(tick) - clock.now()); }
    u64 now() { return rate.ticks(clock.now()); }
    void load(u8 control, u16 count) {
        const u16 port = static_cast<u16>(0x40 + (control >> 6));
        out(0x43, control);
        out(port, static_cast<u8>(count));
        out(port, static_cast<u8>(count >> 8));
    }
    u16 count(unsigned counter) {
        const u16 port = static_cast<u16>(0x40 + counter);
        out(0x43, static_cast<u8>(counter << 6));
        const u8 low = in(port);
        return static_cast<u16>(low | in(port) << 8);
    }
    u8 status(unsigned counter) {
        out(0x43, static_cast<u8>(0xe0 | 2 << counter));
        return in(static_cast<u16>(0x40 + counter));
    }
    void gate(bool on) { out(0x61, on ? 1 : 0); }

    Log log;
    ManualClock clock;
    Bus ports{Bus::Kind::ports, log};
    RecordingSink sink;
    I8254 pit{log, clock, IrqLine(sink, 0)};
};

TEST_F(I8254Test, Mode0RaisesOutAfterCountPlusOneClocks) {
    to(100);
    load(0x30, 1000);
    EXPECT_EQ(status(0), 0x30 | 0x40) << "OUT low, the count not yet in the counting element";
    to(101);
    EXPECT_EQ(count(0), 1000);
    EXPECT_EQ(status(0), 0x30);
    to(101 + 999);
    EXPECT_EQ(count(0), 1);
    EXPECT_FALSE(sink.level(0));
    to(101 + 1000);
    EXPECT_TRUE(sink.level(0));
    EXPECT_EQ(count(0), 0);
    to(101 + 1001);
    EXPECT_EQ(count(0), 0xffff) << "it goes on counting";
    EXPECT_TRUE(sink.level(0));
    load(0x30, 10);
    EXPECT_FALSE(sink.level(0)) << "the control word sets OUT low";
}

TEST_F(I8254Test, Mode0StopsAtTheFirstByteOfANewCount) {
    load(0x30, 100);
    to(50);
    out(0x40, 20);
    to(500);
    EXPECT_FALSE(sink.level(0));
    out(0x40, 0);
    to(500 + 1 + 19);
    EXPECT_FALSE(pit.output(0));
    to(500 + 1 + 20);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(I8254Test, Mode0IsHeldByItsGate) {
    gate(true);
    load(0xb0, 100);
    to(11);
    EXPECT_EQ(count(2), 90);
    gate(false);
    to(1000);
    EXPECT_EQ(count(2), 90);
    gate(true);
    to(1089);
    EXPECT_FALSE(in(0x61) & 0x20);
    to(1090);
    EXPECT_TRUE(in(0x61) & 0x20);
}

TEST_F(I8254Test, Mode1IsARetriggerableOneShot) {
    load(0xb2, 50);
    to(100);
    EXPECT_TRUE(pit.output(2)) << "high until the trigger";
    gate(true);
    to(101);
    EXPECT_FALSE(pit.output(2));
    to(120);
    gate(false), gate(true); // Again from the start.
    to(121 + 49);
    EXPECT_FALSE(pit.output(2));
    to(121 + 50);
    EXPECT_TRUE(pit.output(2));
}

TEST_F(I8254Test, Mode2InterruptsOnceAPeriodForEver) {
    load(0x34, 1193);
    EXPECT_TRUE(sink.level(0)) << "OUT is high from the control word on";
    const unsigned before = sink.rises(0);
    clock.advance(1'000'000'000);
    EXPECT_EQ(sink.rises(0) - before, (I8254::input_hz - 1) / 1193);
    to(now() / 1193 * 1193 + 1193 + 1); // A period's start.
    EXPECT_EQ(count(0), 1193);
    const u64 start = now();
    to(start + 1192);
    EXPECT_EQ(count(0), 1);
    EXPECT_FALSE(pit.output(0)) << "low for the last clock";
    to(start + 1193);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(I8254Test, Mode2TakesANewCountAtTheEndOfThePeriod) {
    load(0x34, 1000);
    to(500);
    out(0x40, 100), out(0x40, 0);
    EXPECT_EQ(status(0) & 0x40, 0x40) << "NULL COUNT until it is loaded";
    to(1001);
    EXPECT_EQ(count(0), 100);
    const unsigned edges = sink.rises(0);
    to(1001 + 100 * 7);
    EXPECT_EQ(sink.rises(0) - edges, 7u);
}

TEST_F(I8254Test, Mode2CountsEvenWhenTheHostIsLate) {
    load(0x34, 100);
    to(50);
    out(0x40, 200), out(0x40, 0);
    // Nobody looks until long after the new count was taken at tick 101.
    to(101 + 200 * 5 + 30);
    EXPECT_EQ(count(0), 170);
}

TEST_F(I8254Test, EveryTickIsSentWhenTheHostIsLate) {
    for (const auto& [count, expected] : {std::pair{5965u, 7u}, {100u, 1u}}) { // 200 Hz; 12 kHz would drown a guest.
        LateClock late;
        RecordingSink line;
        I8254 timer(log, late, IrqLine(line, 0));
        timer.ports().write(3, 0x34, 1), timer.ports().write(0, count & 0xff, 1), timer.ports().write(0, count >> 8, 1);
        const unsigned before = line.rises(0);
        late.time = rate.time(7ull * count + 2);
        late.fire();
        EXPECT_EQ(line.rises(0) - before, expected) << count;
        EXPECT_TRUE(line.level(0));
    }
}

TEST_F(I8254Test, Mode3IsASquareWave) {
    load(0x36, 10);
    to(1);
    std::vector<bool> even;
    for (u64 i = 0; i < 10; ++i, to(1 + i))
        even.push_back(pit.output(0));
    EXPECT_EQ(even, (std::vector<bool>{true, true, true, true, true, false, false, false, false, false}));
    load(0x36, 5);
    const u64 start = now() + 1;
    std::vector<bool> odd;
    for (u64 i = 0; i < 5; ++i) {
        to(start + i);
        odd.push_back(pit.output(0));
    }
    EXPECT_EQ(odd, (std::vector<bool>{true, true, true, false, false}));
}

TEST_F(I8254Test, Mode3CountsByTwo) {
    load(0x36, 1000);
    to(1 + 10);
    EXPECT_EQ(count(0), 980);
    to(1 + 499);
    EXPECT_EQ(count(0), 2);
    to(1 + 500);
    EXPECT_EQ(count(0), 1000);
    clock.advance(1'000'000'000);
    EXPECT_NEAR(sink.rises(0), 1193, 1) << "one rise for two halves";
}

TEST_F(I8254Test, TheBiosRateIsEighteenPointTwoHertz) {
    load(0x36, 0);
    const unsigned before = sink.rises(0);
    clock.advance(10'000'000'000);
    EXPECT_EQ(sink.rises(0) - before, 10 * I8254::input_hz / 65536);
}

TEST_F(I8254Test, Mode4StrobesForOneClock) {
    gate(true);
    load(0xb8, 20);
    to(20);
    EXPECT_TRUE(pit.output(2));
    to(21);
    EXPECT_FALSE(pit.output(2));
    to(22);
    EXPECT_TRUE(pit.output(2));
    to(1000);
    EXPECT_TRUE(pit.output(2));
}

TEST_F(I8254Test, Mode5StrobesAfterItsTrigger) {
    load(0xba, 20);
    to(1000);
    EXPECT_TRUE(pit.output(2));
    gate(true);
    to(1000 + 21);
    EXPECT_FALSE(pit.output(2));
    to(1000 + 22);
    EXPECT_TRUE(pit.output(2));
}

TEST_F(I8254Test, BcdCountsInDecimal) {
    load(0x35, 0x1000);
    to(1 + 1);
    EXPECT_EQ(count(0), 0x0999);
    load(0x31, 0);
    to(now() + 2);
    EXPECT_EQ(count(0), 0x9999) << "0 is 10000";
}

TEST_F(I8254Test, ALatchHoldsUntilItIsRead) {
    load(0x34, 5000);
    to(101);
    out(0x43, 0x00);
    to(2001);
    out(0x43, 0x00); // Ignored: the first latch has not been read.
    EXPECT_EQ(in(0x40) | in(0x40) << 8, 4900);
    EXPECT_EQ(in(0x40) | in(0x40) << 8, 3000) << "unlatched reads are live";
}

TEST_F(I8254Test, ReadBackGivesStatusThenCount) {
    load(0x34, 5000);
    to(101);
    out(0x43, 0xc2);
    EXPECT_EQ(in(0x40), 0x80 | 0x34);
    EXPECT_EQ(in(0x40), 4900 & 0xff);
    EXPECT_EQ(in(0x40), 4900 >> 8);
}

TEST_F(I8254Test, OneByteAccessModes) {
    out(0x43, 0x14); // Low byte only.
    out(0x40, 200);
    to(11);
    EXPECT_EQ(in(0x40), 190);
    out(0x43, 0x24); // High byte only.
    out(0x40, 0x10);
    to(now() + 2);
    EXPECT_EQ(in(0x40), 0x0f);
}

TEST_F(I8254Test, Port61TogglesTheRefreshBit) {
    unsigned toggles = 0;
    u8 last = in(0x61) & 0x10;
    for (unsigned us = 0; us < 1000; ++us) {
        clock.advance(1000);
        const u8 bit = in(0x61) & 0x10;
        toggles += bit != last;
        last = bit;
    }
    EXPECT_EQ(toggles, 66u) << "every 15.085 us";
}

TEST_F(I8254Test, Port61KeepsItsFourBits) {
    out(0x61, 0xff);
    EXPECT_EQ(in(0x61) & 0x0f, 0x0f);
    EXPECT_TRUE(pit.speaker_enabled());
}

TEST_F(I8254Test, ATinyPeriodDoesNotDrownTheHost) {
    load(0x34, 2);
    clock.advance(1'000'000'000);
    EXPECT_LT(sink.rises(0), 60'000u);
    load(0x34, 1);
    EXPECT_EQ(clock.next_deadline(), never) << "a count of 1 is illegal and gives no edges";
}

TEST_F(I8254Test, SavedAndLoadedItGoesOnCounting) {
    load(0x34, 10000);
    to(5001);
    out(0x40, 100); // Half of a count.
    RecordingSink other_sink;
    I8254 other(log, clock, IrqLine(other_sink, 0));
    expect_round_trip(pit, other);
    other.ports().write(0, 0, 1);
    const unsigned before = other_sink.rises(0);
    to(10001);
    EXPECT_EQ(other_sink.rises(0) - before, 1u);
    to(10001 + 500);
    EXPECT_EQ(other_sink.rises(0) - before, 6u) << "the new count of 100 has come";
}

} // namespace
