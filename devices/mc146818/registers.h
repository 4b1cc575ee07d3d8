// Registers and bits of the MC146818 (Motorola MC146818A datasheet).
#pragma once

#include "base/types.h"

namespace calque::devices::rtc {

inline constexpr u8 seconds = 0, seconds_alarm = 1, minutes = 2, minutes_alarm = 3, hours = 4, hours_alarm = 5,
                    day_of_week = 6, day_of_month = 7, month = 8, year = 9, reg_a = 10, reg_b = 11, reg_c = 12,
                    reg_d = 13, century = 0x32;

inline constexpr u8 a_uip = 0x80;
inline constexpr u8 a_divider = 0x70;
inline constexpr u8 a_divider_normal = 0x20; // A 32.768 kHz crystal.
inline constexpr u8 a_divider_reset = 0x60;  // With bit 4 either way.
inline constexpr u8 a_rate = 0x0f;

inline constexpr u8 b_set = 0x80;
inline constexpr u8 b_pie = 0x40;
inline constexpr u8 b_aie = 0x20;
inline constexpr u8 b_uie = 0x10;
inline constexpr u8 b_sqwe = 0x08;
inline constexpr u8 b_dm = 0x04;    // Binary.
inline constexpr u8 b_24_12 = 0x02; // 24 hours.
inline constexpr u8 b_dse = 0x01;

inline constexpr u8 c_irqf = 0x80;
inline constexpr u8 c_pf = 0x40; // PF, AF and UF stand where their enables stand in register B.
inline constexpr u8 c_af = 0x20;
inline constexpr u8 c_uf = 0x10;

inline constexpr u8 d_vrt = 0x80;
inline constexpr u8 hour_pm = 0x80;
inline constexpr u8 alarm_any = 0xc0;

inline constexpr u64 crystal_hz = 32768;
inline constexpr i64 second_ns = 1'000'000'000;
// UIP rises 244 us before an update cycle, which takes 1984 us with this crystal and ends as the second turns.
inline constexpr i64 uip_ns = 244'000 + 1'984'000;
inline constexpr i64 no_alarm = INT64_MAX;

} // namespace calque::devices::rtc
