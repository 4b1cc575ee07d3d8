// Names of the local APIC's registers and bits (SDM volume 3, 11.4-11.12; tables 11-1 and 11-6).
#pragma once

#include "base/types.h"

#include <array>

namespace calque::devices {

namespace msr {
inline constexpr u32 apic_base = 0x1b;
inline constexpr u32 tsc_deadline = 0x6e0;
inline constexpr u32 x2apic = 0x800; // Register n of x2APIC mode is MSR 800h + n.
} // namespace msr

// IA32_APIC_BASE.
namespace apic_base {
inline constexpr u64 bsp = u64{1} << 8;
inline constexpr u64 extd = u64{1} << 10; // x2APIC mode.
inline constexpr u64 en = u64{1} << 11;
inline constexpr u64 address = ~u64{0xfff};
} // namespace apic_base

// Register numbers: MMIO offset >> 4, x2APIC MSR index - 800h.
namespace apic_reg {
inline constexpr unsigned id = 0x02, version = 0x03, tpr = 0x08, apr = 0x09, ppr = 0x0a, eoi = 0x0b, rrd = 0x0c,
                          ldr = 0x0d, dfr = 0x0e, svr = 0x0f, isr = 0x10, tmr = 0x18, irr = 0x20, esr = 0x28,
                          lvt_cmci = 0x2f, icr_low = 0x30, icr_high = 0x31, lvt_timer = 0x32, lvt_thermal = 0x33,
                          lvt_perf = 0x34, lvt_lint0 = 0x35, lvt_lint1 = 0x36, lvt_error = 0x37, timer_initial = 0x38,
                          timer_current = 0x39, timer_divide = 0x3e, self_ipi = 0x3f;
} // namespace apic_reg

// The local vector table.
enum class LvtEntry : u8 { timer, thermal, perf, lint0, lint1, error, cmci };
inline constexpr unsigned lvt_count = 7;

namespace lvt {
inline constexpr u32 vector = 0xff;
inline constexpr u32 delivery_mode = 0x700;
inline constexpr u32 polarity_low = 1 << 13;
inline constexpr u32 remote_irr = 1 << 14;
inline constexpr u32 level = 1 << 15;
inline constexpr u32 masked = 1 << 16;
inline constexpr u32 timer_mode = 3 << 17;
inline constexpr u32 timer_one_shot = 0 << 17;
inline constexpr u32 timer_periodic = 1 << 17;
inline constexpr u32 timer_tsc_deadline = 2 << 17;
} // namespace lvt

inline constexpr std::array<u32, lvt_count> lvt_reset = {lvt::masked, lvt::masked, lvt::masked, lvt::masked,
                                                         lvt::masked, lvt::masked, lvt::masked};

namespace svr {
inline constexpr u32 enable = 1 << 8;
inline constexpr u32 writable = 0x13ff;
inline constexpr u32 focus_disable = 1 << 9;
inline constexpr u32 suppress_eoi_broadcast = 1 << 12;
} // namespace svr

namespace icr {
inline constexpr u32 logical = 1 << 11;
inline constexpr u32 assert_level = 1 << 14;
inline constexpr u32 trigger_level = 1 << 15;
inline constexpr u32 writable = 0xccfff; // Vector, modes, level, trigger, shorthand; not the delivery status.
} // namespace icr

// The error status register (11.5.3).
namespace esr {
inline constexpr u32 redirectable_ipi = 1 << 4;
inline constexpr u32 send_illegal_vector = 1 << 5;
inline constexpr u32 receive_illegal_vector = 1 << 6;
inline constexpr u32 illegal_register_address = 1 << 7;
} // namespace esr

// The logical x2APIC ID: the cluster in the high half, one bit of 16 in the low (SDM volume 3, 11.12.10.2).
constexpr u32 x2apic_ldr(u32 id) { return (id >> 4) << 16 | u32{1} << (id & 15); }

// Version 15h, seven LVT entries, EOI broadcasts can be suppressed.
inline constexpr u32 lapic_version = (1 << 24) | ((lvt_count - 1) << 16) | 0x15;

} // namespace calque::devices
