#include "devices/mc146818/mc146818.h"

#include "devices/mc146818/calendar.h"
#include "devices/mc146818/registers.h"
#include "devices/tick_rate.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr TickRate crystal{rtc::crystal_hz};
constexpr u8 nmi_mask = 0x80;
constexpr u8 flags = rtc::c_pf | rtc::c_af | rtc::c_uf;

bool is_time(u8 index) {
    return index == rtc::century
           || (index <= rtc::year && index != rtc::seconds_alarm && index != rtc::minutes_alarm
               && index != rtc::hours_alarm);
}
} // namespace

std::array<u8, 256> Mc146818::State::power_on_memory() {
    std::array<u8, 256> memory{};
    memory[rtc::reg_a] = rtc::a_divider_normal | 6; // 1024 Hz
    memory[rtc::reg_b] = rtc::b_24_12;
    memory[rtc::reg_d] = rtc::d_vrt;
    return memory;
}

Mc146818::Mc146818(Log& log, Clock& clock, Config config, IrqLine irq8, std::function<void(bool)> nmi_masked)
    : log_(log), clock_(clock), irq8_(irq8), nmi_masked_(std::move(nmi_masked)),
      timer_(clock.make_timer([this] { timer_fired(); })) {
    state_.base_second = clock_.wall_seconds() + config.base_offset;
    state_.base_time = static_cast<i64>(clock_.now());
    latch_time();
    reset();
}

void Mc146818::reset() {
    bool masked = false;
    {
        std::lock_guard lock(mutex_);
        catch_up();
        reg(rtc::reg_b) &= static_cast<u8>(~(rtc::b_pie | rtc::b_aie | rtc::b_uie | rtc::b_sqwe));
        reg(rtc::reg_c) = 0;
        state_.index = 0;
        state_.upper_index = 0;
        irq8_.lower();
        restart_events();
        masked = state_.index & nmi_mask;
    }
    if (nmi_masked_) nmi_masked_(masked);
}

void Mc146818::serialize(Archive& archive) {
    bool masked = false;
    {
        std::lock_guard lock(mutex_);
        catch_up();
        latch_time();
        archive.section(name(), 1, [&](u32) {
            archive.bytes("memory", state_.memory);
            archive.field("index", state_.index);
            archive.field("upper_index", state_.upper_index);
            archive.field("base_second", state_.base_second);
            archive.field("base_time", state_.base_time);
            archive.field("weekday_shift", state_.weekday_shift);
            archive.field("update_handled", state_.update_handled);
            archive.field("periodic_handled", state_.periodic_handled);
            constexpr i64 bound = i64{1} << 60;
            const auto absurd = [](i64 value) { return value < -bound || value > bound; };
            if (archive.loading()
                && (absurd(state_.base_second) || absurd(state_.base_time) || absurd(state_.update_handled)
                    || state_.weekday_shift > 6)) {
                archive.fail("a real-time clock has no such time");
                state_ = State{};
            }
        });
        if (!archive.loading()) return;
        irq8_.set(reg(rtc::reg_c) & rtc::c_irqf);
        catch_up();
        arm();
        masked = state_.index & nmi_mask;
    }
    if (nmi_masked_) nmi_masked_(masked);
}

// --- events

// The period of PF in ticks of the crystal; 0 for none. Rates 1 and 2 are those of 8 and 9 (datasheet, table 5).
unsigned Mc146818::period_ticks() const {
    const unsigned rate = reg(rtc::reg_a) & rtc::a_rate;
    if (rate == 0 || divider_held()) return 0;
    return 1u << (rate <= 2 ? rate + 6 : rate - 1);
}

u64 Mc146818::divider_tick() const { return crystal.ticks(static_cast<u64>(std::max<i64>(since_base(), 0))); }

void Mc146818::catch_up() {
    u8 set = 0;
    const u64 tick = divider_tick();
    if (const unsigned period = period_ticks(); period != 0 && tick / period > state_.periodic_handled / period)
        set |= rtc::c_pf;
    state_.periodic_handled = tick;
    if (!stopped()) {
        const i64 now = second();
        if (now > state_.update_handled) {
            set |= rtc::c_uf;
            if (next_alarm(state_.update_handled) <= now) set |= rtc::c_af;
        }
        state_.update_handled = now;
    }
    u8& c = reg(rtc::reg_c);
    c |= set;
    if (!(c & reg(rtc::reg_b) & flags)) {
        if (c & rtc::c_irqf) irq8_.lower(); // An enable was taken away.
        c &= static_cast<u8>(~rtc::c_irqf);
    } else if (!(c & rtc::c_irqf)) {
        c |= rtc::c_irqf;
        irq8_.raise();
    }
}

// Nothing needs the timer while IRQ 8 is high, or for a flag whose interrupt is off: catch_up() sees those in time.
void Mc146818::arm() {
    const u8 b = reg(rtc::reg_b);
    Nanoseconds next = never;
    const auto at = [&](i64 time) { next = std::min(next, static_cast<u64>(std::max<i64>(time, 0))); };
    if (!(reg(rtc::reg_c) & rtc::c_irqf)) {
        if (const unsigned period = period_ticks(); period != 0 && (b & rtc::b_pie)) {
            const u64 tick = (state_.periodic_handled / period + 1) * period;
            at(state_.base_time + static_cast<i64>(std::min<u64>(crystal.time(tick), u64{1} << 62)));
        }
        const auto at_second = [&](i64 second) {
            const i64 away = second - state_.update_handled;
            const i64 now = second - state_.base_second - away; // Whole seconds since the base, as handled.
            if (away < INT32_MAX && now > INT32_MIN && now < INT32_MAX)
                at(state_.base_time + (now + away) * rtc::second_ns);
        };
        if (!stopped() && (b & rtc::b_uie)) at_second(state_.update_handled + 1);
        if (!stopped() && (b & rtc::b_aie)) {
            const i64 alarm = next_alarm(state_.update_handled);
            if (alarm != rtc::no_alarm) at_second(alarm);
        }
    }
    if (next == never)
        timer_->disarm();
    else
        timer_->arm(next);
}

// After the time or the divider changed: what is past counts as seen.
void Mc146818::restart_events() {
    state_.periodic_handled = divider_tick();
    if (!stopped()) state_.update_handled = second();
    arm();
}

void Mc146818::timer_fired() {
    std::lock_guard lock(mutex_);
    catch_up();
    arm();
}

// --- registers

u8 Mc146818::read_register(u8 index) {
    catch_up();
    if (is_time(index)) latch_time();
    if (index == rtc::reg_a) return static_cast<u8>(reg(index) | (update_in_progress() ? rtc::a_uip : 0));
    if (index != rtc::reg_c) return reg(index);
    const u8 value = reg(index);
    reg(index) = 0;
    irq8_.lower();
    arm();
    return value;
}

void Mc146818::write_register(u8 index, u8 value) {
    catch_up();
    switch (index) {
    case rtc::reg_a: return write_a(value);
    case rtc::reg_b: return write_b(value);
    case rtc::reg_c:
    case rtc::reg_d: return;
    default: break;
    }
    if (is_time(index)) return write_time(index, value);
    reg(index) = value;
    arm(); // An alarm byte may have changed.
}

void Mc146818::write_time(u8 index, u8 value) {
    latch_time();
    reg(index) = value;
    if (stopped()) return;
    commit_time();
    restart_events();
}

void Mc146818::write_a(u8 value) {
    const bool was_held = divider_held();
    latch_time();
    reg(rtc::reg_a) = value & static_cast<u8>(~rtc::a_uip);
    const u8 divider = value & rtc::a_divider;
    if (divider < rtc::a_divider_normal || (divider > rtc::a_divider_normal && !divider_held()))
        log_.unimplemented(Channel::timer, "mc146818.other_time_base");
    if (was_held && !divider_held()) {
        // The first update comes half a second after the divider's reset ends.
        state_.base_time = static_cast<i64>(clock_.now()) - rtc::second_ns / 2;
        if (!stopped()) commit_time();
    }
    restart_events();
    catch_up();
}

void Mc146818::write_b(u8 value) {
    const bool was_stopped = stopped();
    latch_time();
    if (value & rtc::b_set) value &= static_cast<u8>(~rtc::b_uie); // SET clears UIE.
    if (value & rtc::b_dse) log_.unimplemented(Channel::timer, "mc146818.daylight_saving");
    reg(rtc::reg_b) = value;
    if (was_stopped && !stopped()) {
        commit_time();
        state_.update_handled = second();
    }
    catch_up(); // An enabled flag that is already set interrupts at once.
    arm();
}

u8 Mc146818::read_port(u64 port) {
    switch (port) {
    case 1: return read_register(state_.index & 0x7f);
    case 2: return state_.upper_index;
    case 3: return reg(0x80u | state_.upper_index);
    default: return 0xff; // The index register cannot be read.
    }
}

void Mc146818::write_port(u64 port, u8 value) {
    switch (port) {
    case 0: state_.index = value; break;
    case 1: write_register(state_.index & 0x7f, value); break;
    case 2: state_.upper_index = value & 0x7f; break;
    default: reg(0x80u | state_.upper_index) = value;
    }
}

u8 Mc146818::Ports::read_byte(u64 offset) {
    std::lock_guard lock(rtc_.mutex_);
    return rtc_.read_port(offset);
}

void Mc146818::Ports::write_byte(u64 offset, u8 value) {
    bool before = false;
    bool after = false;
    {
        std::lock_guard lock(rtc_.mutex_);
        before = rtc_.state_.index & nmi_mask;
        rtc_.write_port(offset, value);
        after = rtc_.state_.index & nmi_mask;
    }
    if (before != after && rtc_.nmi_masked_) rtc_.nmi_masked_(after);
}

void Mc146818::set_cmos(u8 index, u8 value) {
    std::lock_guard lock(mutex_);
    if (index > rtc::reg_d && !is_time(index)) reg(index) = value;
}

u8 Mc146818::cmos(u8 index) const {
    std::lock_guard lock(mutex_);
    return reg(index);
}

bool Mc146818::nmi_masked() const {
    std::lock_guard lock(mutex_);
    return state_.index & nmi_mask;
}

i64 Mc146818::shown_seconds() const {
    std::lock_guard lock(mutex_);
    return within_calendar(second());
}

} // namespace calque::devices
