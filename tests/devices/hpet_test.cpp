#include "devices/hpet/hpet.h"
#include "tests/devices/irq_test_support.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

constexpr u64 base = Hpet::default_base;
constexpr unsigned irq0 = 100, irq8 = 101, legacy_mode = 102;

class HpetTest : public ::testing::Test {
  protected:
    HpetTest() { memory.map(base, Hpet::mmio_size, hpet.mmio(), "hpet"); }
    static Hpet::Lines lines_of(RecordingSink& sink) {
        return {&sink, 0, IrqLine(sink, irq0), IrqLine(sink, irq8), IrqLine(sink, legacy_mode)};
    }
    void write(u64 offset, u64 value) { memory.write(base + offset, value, 8); }
    u64 read(u64 offset) { return memory.read(base + offset, 8); }
    static u64 conf(unsigned n) { return 0x100 + 0x20 * n; }
    static u64 comparator(unsigned n) { return 0x108 + 0x20 * n; }
    void ticks(u64 n) { clock.advance(10 * n); }
    static constexpr u64 level = 2, enable = 4, periodic = 8, val_set = 0x40, mode32 = 0x100, fsb = 0x4000;
    static u64 route(u64 pin) { return pin << 9; }

    Log log;
    ManualClock clock;
    Bus memory{Bus::Kind::memory, log};
    RecordingSink sink;
    RecordingMsi msi;
    Hpet hpet{log, clock, lines_of(sink), msi};
};

TEST_F(HpetTest, Capabilities) {
    EXPECT_EQ(read(0), u64{10'000'000} << 32 | 0x8086'a201);
    EXPECT_EQ(memory.read(base + 4, 4), 10'000'000u);
    EXPECT_EQ(read(conf(0)), 0x00f0'0104'0000'8030u);
    EXPECT_EQ(read(comparator(2)), ~u64{0});
    EXPECT_EQ(read(0x160), 0u) << "there is no fourth timer";
}

TEST_F(HpetTest, TheMainCounterRunsAtATenthOfAGigahertz) {
    ticks(1000);
    EXPECT_EQ(read(0xf0), 0u) << "it stands until it is enabled";
    write(0xf0, 0x1'ffff'ff00);
    write(0x10, 1);
    ticks(0x180);
    EXPECT_EQ(read(0xf0), 0x2'0000'0080u);
    EXPECT_EQ(memory.read(base + 0xf4, 4), 2u);
    write(0x10, 0);
    ticks(50);
    EXPECT_EQ(read(0xf0), 0x2'0000'0080u);
    write(0x10, 1);
    ticks(1);
    EXPECT_EQ(read(0xf0), 0x2'0000'0081u);
}

TEST_F(HpetTest, AOneShotFiresWhenTheCounterArrives) {
    write(conf(0), enable | route(20));
    write(comparator(0), 1000);
    write(0x10, 1);
    ticks(999);
    EXPECT_EQ(sink.rises(20), 0u);
    ticks(1);
    EXPECT_EQ(sink.rises(20), 1u);
    EXPECT_EQ(read(0x20), 0u) << "edges have no status";
    write(comparator(0), 500); // Already past: not before the counter has gone round.
    ticks(100'000);
    EXPECT_EQ(sink.rises(20), 1u);
    write(comparator(0), read(0xf0) + 10);
    ticks(10);
    EXPECT_EQ(sink.rises(20), 2u);
}

TEST_F(HpetTest, A32BitTimerWrapsWithTheLowHalf) {
    write(0xf0, 0x5'ffff'fff0);
    write(conf(1), enable | mode32 | route(21));
    write(comparator(1), 0x7'0000'0010);
    EXPECT_EQ(read(comparator(1)), 0x10u);
    write(0x10, 1);
    ticks(0x1f);
    EXPECT_EQ(sink.rises(21), 0u);
    ticks(1);
    EXPECT_EQ(sink.rises(21), 1u);
    ticks(u64{1} << 32);
    EXPECT_EQ(sink.rises(21), 2u);
}

TEST_F(HpetTest, PeriodicAsLinuxProgramsIt) {
    write(0x10, 0);
    write(0xf0, 0);
    write(0x10, 3);
    EXPECT_TRUE(sink.level(legacy_mode));
    write(conf(0), enable | periodic | val_set | mode32);
    write(comparator(0), 100'000); // First match.
    EXPECT_FALSE(read(conf(0)) & val_set) << "it clears itself";
    write(comparator(0), 25'000); // Period.
    EXPECT_EQ(read(comparator(0)), 100'000u);
    ticks(99'999);
    EXPECT_EQ(sink.rises(irq0), 0u);
    ticks(1);
    EXPECT_EQ(sink.rises(irq0), 1u);
    EXPECT_EQ(read(comparator(0)), 125'000u);
    ticks(25'000 * 10);
    EXPECT_EQ(sink.rises(irq0), 11u);
    EXPECT_EQ(read(comparator(0)), 375'000u);
}

TEST_F(HpetTest, EveryTickOfIrq0IsSentWhenTheHostIsLate) {
    LateClock late;
    RecordingSink lines;
    Hpet timer(log, late, lines_of(lines), msi);
    const auto set = [&](u64 offset, u64 value) { timer.mmio().write(offset, value, 8); };
    set(conf(0), enable | periodic | val_set);
    set(comparator(0), 400'000); // 4 ms.
    set(0x10, 3);
    late.time = 4'000'000 * 5 + 100;
    late.fire();
    EXPECT_EQ(lines.rises(irq0), 5u);
    EXPECT_EQ(timer.mmio().read(comparator(0), 8), 2'400'000u);
}

TEST_F(HpetTest, LegacyReplacementUsesItsOwnLines) {
    write(0x10, 3);
    write(conf(0), enable | route(20)), write(conf(1), enable), write(conf(2), enable | route(20));
    for (unsigned n = 0; n < 3; ++n)
        write(comparator(n), 100);
    ticks(100);
    EXPECT_EQ(sink.rises(irq0), 1u);
    EXPECT_EQ(sink.rises(irq8), 1u);
    EXPECT_EQ(sink.rises(20), 1u) << "timer 2 has no legacy line";
    write(0x10, 1);
    EXPECT_FALSE(sink.level(legacy_mode));
    EXPECT_FALSE(sink.level(irq0)) << "the line is let go of";
}

TEST_F(HpetTest, LevelInterruptsStandUntilTheirStatusIsCleared) {
    write(conf(2), enable | level | route(22));
    write(comparator(2), 100);
    write(0x10, 1);
    ticks(100);
    EXPECT_TRUE(sink.level(22));
    EXPECT_EQ(read(0x20), 4u);
    write(0x10, 0);
    EXPECT_FALSE(sink.level(22)) << "not asserted while the block is disabled";
    write(0x10, 1);
    EXPECT_TRUE(sink.level(22));
    write(0x20, 3);
    EXPECT_TRUE(sink.level(22));
    write(0x20, 4);
    EXPECT_FALSE(sink.level(22));
    EXPECT_EQ(read(0x20), 0u);
}

TEST_F(HpetTest, ALevelTimerWithItsInterruptOffSetsItsStatusOnly) {
    write(conf(2), level | route(22));
    write(comparator(2), 100);
    write(0x10, 1);
    EXPECT_EQ(clock.next_deadline(), never) << "no host timer for it";
    ticks(100);
    EXPECT_EQ(read(0x20), 4u);
    EXPECT_FALSE(sink.level(22));
    write(conf(2), enable | level | route(22));
    EXPECT_TRUE(sink.level(22));
    write(conf(2), enable | level | route(23));
    EXPECT_FALSE(sink.level(22)) << "the line moves with its route";
    EXPECT_TRUE(sink.level(23));
}

TEST_F(HpetTest, FsbModeSendsMessages) {
    write(0x110, 0xfee0'1000'0000'0045);
    write(conf(0), enable | fsb | periodic | val_set);
    write(comparator(0), 10'000);
    write(0x10, 1);
    ticks(20'000);
    ASSERT_EQ(msi.messages.size(), 2u);
    EXPECT_EQ(msi.messages[0], (RecordingMsi::Message{0xfee0'1000, 0x45}));
    EXPECT_TRUE(sink.edges.empty());
}

TEST_F(HpetTest, ARouteThatIsNotThereDoesNotStick) {
    write(conf(0), route(20));
    write(conf(0), route(17));
    EXPECT_EQ(read(conf(0)) >> 9 & 31, 20u);
}

TEST_F(HpetTest, HalvesAreWrittenOneByOne) {
    memory.write(base + comparator(0), 0x1234'5678, 4);
    memory.write(base + comparator(0) + 4, 0x9abc'def0, 4);
    EXPECT_EQ(read(comparator(0)), 0x9abc'def0'1234'5678u);
    memory.write(base + comparator(0), 0, 2);
    EXPECT_EQ(read(comparator(0)), 0x9abc'def0'1234'5678u);
    write(0x10, 1);
    EXPECT_EQ(clock.next_deadline(), never);
    memory.write(base + conf(0), enable | route(20), 4);
    ticks(1); // The deadline is thousands of years away, beyond the clock.
    EXPECT_EQ(sink.rises(20), 0u);
}

TEST_F(HpetTest, ATinyPeriodDoesNotDrownTheHost) {
    write(conf(0), enable | periodic | val_set | route(20));
    write(comparator(0), 1);
    write(0x10, 1);
    clock.advance(1'000'000'000);
    EXPECT_LT(sink.rises(20), 60'000u);
}

TEST_F(HpetTest, ResetLetsGoOfTheLines) {
    write(0x10, 3);
    write(conf(0), enable);
    write(comparator(0), 100);
    ticks(100);
    EXPECT_TRUE(sink.level(irq0));
    hpet.reset();
    EXPECT_FALSE(sink.level(irq0));
    EXPECT_FALSE(sink.level(legacy_mode));
    EXPECT_EQ(read(0xf0), 0u);
}

TEST_F(HpetTest, SavedAndLoaded) {
    write(0x10, 3);
    write(conf(0), enable | periodic | val_set);
    write(comparator(0), 10'000);
    write(conf(2), enable | level | route(22));
    write(comparator(2), 5'000);
    ticks(7'000);
    RecordingSink other_sink;
    Hpet other(log, clock, lines_of(other_sink), msi);
    expect_round_trip(hpet, other);
    EXPECT_TRUE(other_sink.level(22));
    EXPECT_TRUE(other_sink.level(legacy_mode));
    ticks(13'000);
    EXPECT_EQ(other_sink.rises(irq0), 2u);
}

} // namespace
