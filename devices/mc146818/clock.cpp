// The time of day: between seconds since 1970 and the bytes of the register file.
#include "devices/mc146818/calendar.h"
#include "devices/mc146818/mc146818.h"
#include "devices/mc146818/registers.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr i64 day_seconds = 86400;
unsigned second_of_day(i64 time) { return static_cast<unsigned>(time - floor_div(time, day_seconds) * day_seconds); }
} // namespace

bool Mc146818::divider_held() const { return (reg(rtc::reg_a) & rtc::a_divider_reset) == rtc::a_divider_reset; }

bool Mc146818::stopped() const { return divider_held() || (reg(rtc::reg_b) & rtc::b_set); }

i64 Mc146818::since_base() const {
    return static_cast<i64>(std::min<u64>(clock_.now(), u64{1} << 61)) - state_.base_time;
}

i64 Mc146818::second() const { return state_.base_second + floor_div(since_base(), rtc::second_ns); }

bool Mc146818::update_in_progress() const {
    if (stopped()) return false;
    const i64 passed = since_base();
    const i64 left = rtc::second_ns - (passed - floor_div(passed, rtc::second_ns) * rtc::second_ns);
    return left <= rtc::uip_ns;
}

u8 Mc146818::encode(unsigned value) const {
    if (reg(rtc::reg_b) & rtc::b_dm) return static_cast<u8>(value);
    return static_cast<u8>(value / 10 % 10 << 4 | value % 10);
}

unsigned Mc146818::decode(u8 byte) const {
    if (reg(rtc::reg_b) & rtc::b_dm) return byte;
    return (byte >> 4) * 10u + (byte & 15);
}

u8 Mc146818::encode_hour(unsigned hour) const {
    if (reg(rtc::reg_b) & rtc::b_24_12) return encode(hour);
    const unsigned shown = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<u8>(encode(shown) | (hour >= 12 ? rtc::hour_pm : 0));
}

unsigned Mc146818::decode_hour(u8 byte) const {
    if (reg(rtc::reg_b) & rtc::b_24_12) return decode(byte);
    const unsigned shown = decode(byte & static_cast<u8>(~rtc::hour_pm)) % 12;
    return shown + (byte & rtc::hour_pm ? 12 : 0);
}

void Mc146818::latch_time() {
    if (stopped()) return;
    const i64 now = within_calendar(second());
    const i64 days = floor_div(now, day_seconds);
    const unsigned time = second_of_day(now);
    const CivilDate date = date_of(days);
    const unsigned year = static_cast<unsigned>(date.year);
    const unsigned weekday = weekday_of(days + state_.weekday_shift);
    reg(rtc::seconds) = encode(time % 60);
    reg(rtc::minutes) = encode(time / 60 % 60);
    reg(rtc::hours) = encode_hour(time / 3600);
    reg(rtc::day_of_week) = encode(weekday + 1); // Sunday is 1.
    reg(rtc::day_of_month) = encode(date.day);
    reg(rtc::month) = encode(date.month);
    reg(rtc::year) = encode(year % 100);
    reg(rtc::century) = encode(year / 100);
}

// Whatever bytes stand there give some time: a month of 13 is January of the next year, and so on.
void Mc146818::commit_time() {
    const unsigned month = std::max(decode(reg(rtc::month)), 1u) - 1;
    const i64 year = i64{decode(reg(rtc::century))} * 100 + decode(reg(rtc::year)) + month / 12;
    const i64 days = days_of({std::min<i64>(year, 9999), month % 12 + 1, 1}) + decode(reg(rtc::day_of_month)) - 1;
    const i64 time = days * day_seconds + decode_hour(reg(rtc::hours)) * 3600 + decode(reg(rtc::minutes)) * 60
                     + decode(reg(rtc::seconds));
    const unsigned shown = (decode(reg(rtc::day_of_week)) + 6) % 7;
    state_.weekday_shift = static_cast<u8>((shown + 7 - weekday_of(days)) % 7);
    const i64 before = state_.base_second;
    state_.base_second = std::clamp(time, earliest_second, latest_second) - floor_div(since_base(), rtc::second_ns);
    if (time_observer_ && state_.base_second != before) time_observer_(second());
}

bool Mc146818::alarm_matches(unsigned field, unsigned value) const {
    const u8 alarm = reg(field);
    if ((alarm & rtc::alarm_any) == rtc::alarm_any) return true;
    return alarm == (field == rtc::hours_alarm ? encode_hour(value) : encode(value));
}

// Steps by hours, then minutes, then seconds, so a day is passed in at most 24 + 60 + 60 steps.
i64 Mc146818::next_alarm(i64 after) const {
    const i64 end = after + day_seconds;
    i64 at = after + 1;
    while (at <= end) {
        const unsigned time = second_of_day(at);
        if (!alarm_matches(rtc::hours_alarm, time / 3600))
            at += 3600 - time % 3600;
        else if (!alarm_matches(rtc::minutes_alarm, time / 60 % 60))
            at += 60 - time % 60;
        else if (!alarm_matches(rtc::seconds_alarm, time % 60))
            ++at;
        else
            return at;
    }
    return rtc::no_alarm;
}

} // namespace calque::devices
