// The Gregorian calendar, without the host's.
#pragma once

#include "base/types.h"

namespace calque::devices {

struct CivilDate {
    i64 year;
    unsigned month; // 1-12
    unsigned day;   // 1-31
};

// Days from 1970-01-01 to a date of the years 0 to 9999. Years are counted from March, so that the leap day ends them.
constexpr i64 days_of(CivilDate date) {
    const i64 year = date.month <= 2 ? date.year + 399 : date.year + 400; // One 400-year cycle early: no negatives.
    const i64 month = (date.month + 9) % 12;                              // March is 0.
    const i64 day_of_year = (153 * month + 2) / 5 + date.day - 1;         // 153 days in five months from March.
    constexpr i64 cycle = 146'097;                                        // Days in 400 years.
    constexpr i64 epoch = 719'468;                                        // 0000-03-01 to 1970-01-01.
    return 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - cycle - epoch;
}

constexpr CivilDate date_of(i64 days) {
    const i64 year_guess = (days + 719'528) * 400 / 146'097; // From 0000-01-01, within a year of the truth.
    i64 year = year_guess;
    while (days_of({year, 1, 1}) > days)
        --year;
    while (days_of({year + 1, 1, 1}) <= days)
        ++year;
    unsigned month = 12;
    while (days_of({year, month, 1}) > days)
        --month;
    return {year, month, static_cast<unsigned>(days - days_of({year, month, 1})) + 1};
}

constexpr i64 floor_div(i64 a, i64 b) { return a / b - (a % b < 0); }

// What years of four decimal digits hold, in seconds since 1970: 0000-01-01 to the end of 9999-12-31.
inline constexpr i64 earliest_second = -62'167'219'200, latest_second = 253'402'300'799;

// The year 0 follows 9999. Time must not stand still there: an update would be due at once, for ever.
constexpr i64 within_calendar(i64 second) {
    constexpr i64 length = latest_second + 1 - earliest_second;
    const i64 past = second - earliest_second;
    return earliest_second + past - floor_div(past, length) * length;
}

// 0 is Sunday.
constexpr unsigned weekday_of(i64 days) { return static_cast<unsigned>(((days + 4) % 7 + 7) % 7); }

static_assert(days_of({1970, 1, 1}) == 0 && days_of({2000, 3, 1}) == 11017 && days_of({0, 1, 1}) == -719528);
static_assert(date_of(11016).month == 2 && date_of(11016).day == 29 && date_of(-719528).year == 0);
static_assert(weekday_of(0) == 4 && weekday_of(-719528) == 6);

static_assert(within_calendar(latest_second) == latest_second && within_calendar(latest_second + 1) == earliest_second);
static_assert(within_calendar(earliest_second - 1) == latest_second && within_calendar(0) == 0);

} // namespace calque::devices
