#include "tests/devices/lapic_fixture.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

using LapicTimerTest = LapicTest;

TEST_F(LapicTimerTest, OneShotCountsDownOnce) {
    enable_all();
    write(apic(), apic_reg::timer_divide, 3); // By 16.
    write(apic(), apic_reg::lvt_timer, 0x30);
    write(apic(), apic_reg::timer_initial, 1000);
    clock.advance(160);
    EXPECT_EQ(read(apic(), apic_reg::timer_current), 990u);
    clock.advance(15'839);
    EXPECT_FALSE(apic().pending());
    clock.advance(1);
    EXPECT_EQ(apic().acknowledge(), 0x30);
    EXPECT_EQ(read(apic(), apic_reg::timer_current), 0u);
    EXPECT_EQ(read(apic(), apic_reg::timer_initial), 1000u);
    clock.advance(1'000'000);
    EXPECT_FALSE(apic().pending());
    EXPECT_EQ(clock.next_deadline(), never);
}

TEST_F(LapicTimerTest, PeriodicReloads) {
    enable_all();
    write(apic(), apic_reg::timer_divide, 0xb); // By 1.
    write(apic(), apic_reg::lvt_timer, 0x2'0030);
    write(apic(), apic_reg::timer_initial, 1'000'000);
    for (unsigned i = 0; i < 10; ++i) {
        clock.advance(1'000'000);
        EXPECT_EQ(apic().acknowledge(), 0x30);
        write(apic(), apic_reg::eoi, 0);
    }
    clock.advance(1);
    EXPECT_EQ(read(apic(), apic_reg::timer_current), 999'999u);
    write(apic(), apic_reg::timer_initial, 0);
    clock.advance(10'000'000);
    EXPECT_FALSE(apic().pending());
}

TEST_F(LapicTimerTest, TheEightDividers) {
    const std::map<u32, u64> dividers = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {0xa, 128}, {0xb, 1}};
    for (const auto& [code, divider] : dividers) {
        write(apic(), apic_reg::timer_divide, code);
        write(apic(), apic_reg::timer_initial, 1'000'000);
        clock.advance(1280);
        EXPECT_EQ(read(apic(), apic_reg::timer_current), 1'000'000 - 1280 / divider) << code;
    }
}

TEST_F(LapicTimerTest, ChangingTheDividerKeepsTheCount) {
    write(apic(), apic_reg::timer_divide, 0xb);
    write(apic(), apic_reg::timer_initial, 1000);
    clock.advance(400);
    write(apic(), apic_reg::timer_divide, 0); // By 2.
    clock.advance(400);
    EXPECT_EQ(read(apic(), apic_reg::timer_current), 400u);
}

TEST_F(LapicTimerTest, AMaskedTimerNeedsNoHostTimer) {
    enable_all();
    write(apic(), apic_reg::timer_divide, 0xb);
    write(apic(), apic_reg::lvt_timer, 0x3'0030); // Periodic, masked.
    write(apic(), apic_reg::timer_initial, 1000);
    EXPECT_EQ(clock.next_deadline(), never);
    clock.advance(2'500);
    EXPECT_EQ(read(apic(), apic_reg::timer_current), 500u);
    write(apic(), apic_reg::lvt_timer, 0x2'0030);
    EXPECT_FALSE(apic().pending()) << "what expired while masked is gone";
    clock.advance(500);
    EXPECT_TRUE(apic().pending());
}

TEST_F(LapicTimerTest, ATinyPeriodDoesNotDrownTheHost) {
    enable_all();
    write(apic(), apic_reg::timer_divide, 0xb);
    write(apic(), apic_reg::lvt_timer, 0x2'0030);
    write(apic(), apic_reg::timer_initial, 1);
    clock.advance(5);
    EXPECT_TRUE(apic().pending());
    EXPECT_GE(clock.next_deadline(), clock.now() + 10'000);
}

TEST_F(LapicTimerTest, TscDeadlineFiresOnceAndClearsItself) {
    enable_all();
    write(apic(), apic_reg::lvt_timer, 0x4'0031);
    EXPECT_TRUE(apic().write_msr(msr::tsc_deadline, 2'000'000));
    EXPECT_EQ(apic().read_msr(msr::tsc_deadline), 2'000'000u);
    write(apic(), apic_reg::timer_initial, 77);
    EXPECT_EQ(read(apic(), apic_reg::timer_initial), 0u) << "ignored in this mode";
    clock.advance(999'999);
    EXPECT_FALSE(apic().pending());
    clock.advance(1);
    EXPECT_EQ(apic().acknowledge(), 0x31);
    write(apic(), apic_reg::eoi, 0);
    EXPECT_EQ(apic().read_msr(msr::tsc_deadline), 0u);
    EXPECT_TRUE(apic().write_msr(msr::tsc_deadline, 1));
    EXPECT_EQ(apic().acknowledge(), 0x31) << "a deadline in the past fires at once";
    write(apic(), apic_reg::eoi, 0);
    EXPECT_TRUE(apic().write_msr(msr::tsc_deadline, tsc.tsc() + 1000));
    EXPECT_TRUE(apic().write_msr(msr::tsc_deadline, 0));
    clock.advance(1'000'000);
    EXPECT_FALSE(apic().pending()) << "0 disarms";
}

TEST_F(LapicTimerTest, TscDeadlineIsIgnoredInTheOtherModes) {
    enable_all();
    write(apic(), apic_reg::lvt_timer, 0x31);
    EXPECT_TRUE(apic().write_msr(msr::tsc_deadline, 5));
    EXPECT_EQ(apic().read_msr(msr::tsc_deadline), 0u);
    write(apic(), apic_reg::timer_initial, 1000);
    write(apic(), apic_reg::lvt_timer, 0x4'0031);
    clock.advance(1'000'000);
    EXPECT_FALSE(apic().pending()) << "changing the mode disarms";
}

TEST_F(LapicTimerTest, AChangedTscMovesTheDeadline) {
    enable_all();
    write(apic(), apic_reg::lvt_timer, 0x4'0031);
    apic().write_msr(msr::tsc_deadline, 2'000'000);
    tsc.offset = 1'000'000;
    apic().tsc_changed();
    clock.advance(500'000);
    EXPECT_TRUE(apic().pending());
}

} // namespace
