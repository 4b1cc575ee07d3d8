#include "devices/mc146818/mc146818.h"
#include "devices/mc146818/registers.h"
#include "tests/devices/irq_test_support.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

constexpr Nanoseconds ms = 1'000'000;
constexpr Nanoseconds second = 1'000 * ms;
constexpr i64 leap_day = 1709164798; // 2024-02-28 23:59:58 UTC, a Wednesday.

class Mc146818Test : public ::testing::Test {
  protected:
    Mc146818Test() {
        clock.set_wall_start(leap_day);
        rtc = std::make_unique<Mc146818>(log, clock, Mc146818::Config{}, IrqLine(sink, 8),
                                         [this](bool masked) { nmi_masked = masked; });
        ports.map(0x70, 4, rtc->ports(), "rtc");
    }
    u8 get(u8 index) {
        ports.write(0x70, index, 1);
        return static_cast<u8>(ports.read(0x71, 1));
    }
    void set(u8 index, u8 value) {
        ports.write(0x70, index, 1);
        ports.write(0x71, value, 1);
    }
    // Century to seconds, as they stand in the bytes.
    std::vector<u8> time() {
        return {get(rtc::century), get(rtc::year),    get(rtc::month),  get(rtc::day_of_month),
                get(rtc::hours),   get(rtc::minutes), get(rtc::seconds)};
    }
    using Bytes = std::vector<u8>;

    Log log;
    ManualClock clock;
    Bus ports{Bus::Kind::ports, log};
    RecordingSink sink;
    bool nmi_masked = false;
    std::unique_ptr<Mc146818> rtc;
};

TEST_F(Mc146818Test, ShowsTheWallClockInBcd) {
    EXPECT_EQ(time(), (Bytes{0x20, 0x24, 0x02, 0x28, 0x23, 0x59, 0x58}));
    EXPECT_EQ(get(rtc::day_of_week), 4) << "Wednesday";
    clock.advance(2 * second);
    EXPECT_EQ(time(), (Bytes{0x20, 0x24, 0x02, 0x29, 0x00, 0x00, 0x00}));
    clock.advance(24 * 3600 * second);
    EXPECT_EQ(time(), (Bytes{0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00}));
    EXPECT_EQ(get(rtc::reg_d), 0x80);
}

TEST_F(Mc146818Test, WhoWatchesHearsOfATimeThatTheGuestSets) {
    std::vector<i64> heard;
    rtc->set_time_observer([&](i64 seconds) { heard.push_back(seconds); });
    set(rtc::reg_b, static_cast<u8>(get(rtc::reg_b) | rtc::b_set));
    set(rtc::hours, 0x22);
    set(rtc::reg_b, static_cast<u8>(get(rtc::reg_b) & ~rtc::b_set));
    ASSERT_EQ(heard.size(), 1u);
    EXPECT_EQ(heard[0], rtc->shown_seconds());
    set(rtc::reg_a, get(rtc::reg_a)); // Sets nothing.
    EXPECT_EQ(heard.size(), 1u);
}

TEST_F(Mc146818Test, TheBaseOffsetMakesLocalTime) {
    Mc146818 local(log, clock, {.base_offset = 3600}, IrqLine());
    EXPECT_EQ(local.shown_seconds(), leap_day + 3600);
}

TEST_F(Mc146818Test, BinaryAndTwelveHourFormats) {
    set(rtc::reg_b, rtc::b_dm | rtc::b_24_12);
    EXPECT_EQ(time(), (Bytes{20, 24, 2, 28, 23, 59, 58}));
    set(rtc::reg_b, 0);
    EXPECT_EQ(get(rtc::hours), 0x91) << "11 PM";
    clock.advance(2 * second);
    EXPECT_EQ(get(rtc::hours), 0x12) << "12 AM is midnight";
    clock.advance(12 * 3600 * second);
    EXPECT_EQ(get(rtc::hours), 0x92) << "12 PM is noon";
    set(rtc::reg_b, rtc::b_dm);
    EXPECT_EQ(get(rtc::hours), 0x8c);
}

TEST_F(Mc146818Test, SetStopsTheTimeAndTakesANewOne) {
    set(rtc::reg_b, rtc::b_set | rtc::b_24_12);
    clock.advance(10 * second);
    EXPECT_EQ(get(rtc::seconds), 0x58) << "updates are inhibited";
    EXPECT_FALSE(get(rtc::reg_a) & rtc::a_uip);
    set(rtc::century, 0x19), set(rtc::year, 0x99), set(rtc::month, 0x12), set(rtc::day_of_month, 0x31);
    set(rtc::hours, 0x23), set(rtc::minutes, 0x59), set(rtc::seconds, 0x59);
    set(rtc::day_of_week, 0x02);
    set(rtc::reg_b, rtc::b_24_12);
    EXPECT_EQ(time(), (Bytes{0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59}));
    EXPECT_EQ(get(rtc::day_of_week), 2) << "the day of the week is a counter of its own";
    clock.advance(second);
    EXPECT_EQ(time(), (Bytes{0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00}));
    EXPECT_EQ(get(rtc::day_of_week), 3);
}

TEST_F(Mc146818Test, AWriteWithoutSetTakesEffectAtOnce) {
    set(rtc::minutes, 0x30);
    EXPECT_EQ(time(), (Bytes{0x20, 0x24, 0x02, 0x28, 0x23, 0x30, 0x58}));
}

TEST_F(Mc146818Test, NonsenseTimesAreTakenAsSomeTime) {
    set(rtc::reg_b, rtc::b_set | rtc::b_24_12);
    for (u8 index : {rtc::seconds, rtc::minutes, rtc::hours, rtc::day_of_month, rtc::month, rtc::year, rtc::century})
        set(index, 0xff);
    set(rtc::reg_b, rtc::b_24_12);
    clock.advance(second);
    EXPECT_LE(rtc->shown_seconds(), 253'402'300'799);
    set(rtc::reg_b, rtc::b_dm);
    for (u8 index : {rtc::seconds, rtc::minutes, rtc::hours, rtc::day_of_month, rtc::month, rtc::year, rtc::century})
        set(index, 0);
    EXPECT_EQ(get(rtc::century), 0);
}

TEST_F(Mc146818Test, UipRisesTwoMillisecondsBeforeTheSecond) {
    clock.advance(second - 2 * ms - 229'000);
    EXPECT_FALSE(get(rtc::reg_a) & rtc::a_uip);
    clock.advance(1'000);
    EXPECT_TRUE(get(rtc::reg_a) & rtc::a_uip);
    EXPECT_EQ(get(rtc::seconds), 0x58);
    clock.advance(2 * ms + 228'000);
    EXPECT_FALSE(get(rtc::reg_a) & rtc::a_uip);
    EXPECT_EQ(get(rtc::seconds), 0x59);
}

// The time once stood still there, with the next update always due: the timer fired for ever.
TEST_F(Mc146818Test, TheYear0Follows9999AndUpdatesGoOn) {
    set(rtc::reg_b, rtc::b_24_12 | rtc::b_set);
    for (const auto& [index, value] : {std::pair{rtc::century, 0x99},
                                       {rtc::year, 0x99},
                                       {rtc::month, 0x12},
                                       {rtc::day_of_month, 0x31},
                                       {rtc::hours, 0x23},
                                       {rtc::minutes, 0x59},
                                       {rtc::seconds, 0x58}})
        set(index, static_cast<u8>(value));
    set(rtc::reg_b, rtc::b_24_12 | rtc::b_uie);
    for (unsigned i = 0; i < 4; ++i) {
        clock.advance(second);
        EXPECT_EQ(get(rtc::reg_c) & (rtc::c_irqf | rtc::c_uf), rtc::c_irqf | rtc::c_uf) << i;
    }
    EXPECT_EQ(time(), (Bytes{0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x02}));
}

TEST_F(Mc146818Test, TheUpdateInterruptComesWithEachSecond) {
    set(rtc::reg_b, rtc::b_uie | rtc::b_24_12);
    EXPECT_EQ(clock.next_deadline(), second);
    clock.advance(second);
    EXPECT_TRUE(sink.level(8));
    EXPECT_EQ(clock.next_deadline(), never) << "nothing to wait for until C is read";
    EXPECT_EQ(get(rtc::reg_c) & 0xb0, rtc::c_irqf | rtc::c_uf);
    EXPECT_FALSE(sink.level(8));
    EXPECT_EQ(get(rtc::reg_c), 0);
    clock.advance(second);
    EXPECT_TRUE(sink.level(8));
}

TEST_F(Mc146818Test, FlagsAreSetWithoutTheirInterrupts) {
    EXPECT_EQ(clock.next_deadline(), never);
    clock.advance(2 * second);
    EXPECT_EQ(get(rtc::reg_c), rtc::c_pf | rtc::c_uf | rtc::c_af) << "the alarm bytes of 0 mean midnight, which came";
    EXPECT_EQ(get(rtc::reg_c), 0);
    EXPECT_FALSE(sink.level(8));
}

TEST_F(Mc146818Test, PeriodicInterruptsAtTheChosenRate) {
    set(rtc::reg_a, rtc::a_divider_normal | 6); // 1024 Hz
    set(rtc::reg_b, rtc::b_pie | rtc::b_24_12);
    unsigned count = 0;
    for (unsigned i = 0; i < 1000; ++i) {
        clock.advance(ms);
        if (sink.level(8)) {
            ++count;
            EXPECT_TRUE(get(rtc::reg_c) & rtc::c_pf);
        }
    }
    EXPECT_NEAR(count, 1000, 1) << "1024 in a second, looked at 1000 times";
    set(rtc::reg_a, rtc::a_divider_normal | 15); // 2 Hz
    get(rtc::reg_c);
    const unsigned before = sink.rises(8);
    clock.advance(500 * ms);
    EXPECT_EQ(sink.rises(8) - before, 1u);
    set(rtc::reg_a, rtc::a_divider_normal); // None.
    get(rtc::reg_c);
    clock.advance(5 * second);
    EXPECT_FALSE(sink.level(8));
}

TEST_F(Mc146818Test, TheAlarmMatchesItsBytes) {
    set(rtc::hours_alarm, 0x00), set(rtc::minutes_alarm, 0x01), set(rtc::seconds_alarm, 0x05);
    set(rtc::reg_b, rtc::b_aie | rtc::b_24_12);
    EXPECT_EQ(clock.next_deadline(), 67 * second);
    clock.advance(66 * second);
    EXPECT_FALSE(sink.level(8));
    clock.advance(second);
    EXPECT_TRUE(sink.level(8));
    EXPECT_TRUE(get(rtc::reg_c) & rtc::c_af);
    EXPECT_EQ(clock.next_deadline(), (67 + 86400) * second);
}

TEST_F(Mc146818Test, AlarmBytesOfC0AndAboveMatchAnything) {
    set(rtc::hours_alarm, 0xff), set(rtc::minutes_alarm, 0xc0), set(rtc::seconds_alarm, 0x30);
    set(rtc::reg_b, rtc::b_aie | rtc::b_24_12);
    unsigned alarms = 0;
    for (unsigned i = 0; i < 300; ++i) {
        clock.advance(second);
        if (get(rtc::reg_c) & rtc::c_af) ++alarms;
    }
    EXPECT_EQ(alarms, 5u) << "once a minute";
    set(rtc::seconds_alarm, 0x7a); // No such second.
    get(rtc::reg_c);
    EXPECT_EQ(clock.next_deadline(), never);
}

TEST_F(Mc146818Test, TheFirstUpdateAfterADividerResetIsHalfASecondLater) {
    set(rtc::reg_a, 0x70);
    clock.advance(10 * second);
    EXPECT_EQ(get(rtc::seconds), 0x58);
    set(rtc::reg_a, 0x26);
    clock.advance(499 * ms);
    EXPECT_EQ(get(rtc::seconds), 0x58);
    clock.advance(ms);
    EXPECT_EQ(get(rtc::seconds), 0x59);
}

TEST_F(Mc146818Test, CmosMemoryAndItsSecondBank) {
    rtc->set_cmos(0x5b, 0x12);
    EXPECT_EQ(get(0x5b), 0x12);
    set(0x38, 0x34);
    EXPECT_EQ(rtc->cmos(0x38), 0x34);
    ports.write(0x72, 0x05, 1);
    ports.write(0x73, 0x77, 1);
    EXPECT_EQ(rtc->cmos(0x85), 0x77);
    EXPECT_EQ(ports.read(0x73, 1), 0x77u);
    EXPECT_EQ(get(0x05), 0);
}

TEST_F(Mc146818Test, Bit7OfTheIndexMasksNmi) {
    EXPECT_FALSE(nmi_masked);
    ports.write(0x70, 0x8f, 1);
    EXPECT_TRUE(nmi_masked);
    EXPECT_TRUE(rtc->nmi_masked());
    ports.write(0x70, 0x0f, 1);
    EXPECT_FALSE(nmi_masked);
}

TEST_F(Mc146818Test, ResetClearsInterruptsAndKeepsTheTime) {
    set(rtc::reg_b, rtc::b_uie | rtc::b_24_12 | rtc::b_dm);
    clock.advance(second);
    EXPECT_TRUE(sink.level(8));
    rtc->reset();
    EXPECT_FALSE(sink.level(8));
    EXPECT_EQ(get(rtc::reg_b), rtc::b_24_12 | rtc::b_dm);
    EXPECT_EQ(get(rtc::seconds), 59);
    clock.advance(2 * second);
    EXPECT_FALSE(sink.level(8));
}

TEST_F(Mc146818Test, SavedAndLoaded) {
    set(rtc::year, 0x30);
    set(rtc::reg_b, rtc::b_uie | rtc::b_24_12);
    rtc->set_cmos(0x40, 0x99);
    clock.advance(300 * ms);
    RecordingSink other_sink;
    Mc146818 other(log, clock, {}, IrqLine(other_sink, 8));
    expect_round_trip(*rtc, other);
    EXPECT_EQ(other.shown_seconds(), rtc->shown_seconds());
    clock.advance(700 * ms);
    EXPECT_TRUE(other_sink.level(8));
    EXPECT_EQ(other.cmos(0x40), 0x99);
}

} // namespace
