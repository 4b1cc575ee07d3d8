#include "devices/hpet/hpet.h"

#include "base/bits.h"
#include "devices/tick_rate.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr u64 femtoseconds = 1'000'000'000'000'000;
constexpr TickRate rate{femtoseconds / Hpet::period_fs};

// Register offsets (specification, 2.3.3); each is 64 bits wide.
constexpr u64 gcap_id = 0x000;
constexpr u64 gen_conf = 0x010;
constexpr u64 gintr_sts = 0x020;
constexpr u64 main_cnt = 0x0f0;
constexpr u64 timer_block = 0x100;
constexpr u64 timer_stride = 0x20;
constexpr u64 tn_conf = 0x00;
constexpr u64 tn_comparator = 0x08;
constexpr u64 tn_fsb = 0x10;

constexpr u64 enable_cnf = 1 << 0;
constexpr u64 leg_rt_cnf = 1 << 1;

constexpr u64 tn_int_type = 1 << 1; // Level-triggered.
constexpr u64 tn_int_enb = 1 << 2;
constexpr u64 tn_type = 1 << 3; // Periodic.
constexpr u64 tn_per_int_cap = 1 << 4;
constexpr u64 tn_size_cap = 1 << 5;
constexpr u64 tn_val_set = 1 << 6;
constexpr u64 tn_32mode = 1 << 8;
constexpr unsigned tn_int_route_shift = 9;
constexpr u64 tn_int_route = 0x1f << tn_int_route_shift;
constexpr u64 tn_fsb_en = 1 << 14;
constexpr u64 tn_fsb_cap = 1 << 15;
constexpr u64 tn_writable = tn_int_type | tn_int_enb | tn_type | tn_val_set | tn_32mode | tn_int_route | tn_fsb_en;
constexpr u64 tn_capabilities = u64{Hpet::route_capability} << 32 | tn_per_int_cap | tn_size_cap | tn_fsb_cap;

// A period of a few ticks would have the host do nothing else: matches closer than this are taken together.
constexpr Nanoseconds shortest_wait = 20'000;
constexpr u64 slow_period = femtoseconds / 2000 / Hpet::period_fs; // Half a millisecond.
constexpr u64 most_at_once = 250;
} // namespace

Hpet::Hpet(Log& log, Clock& clock, const Lines& lines, MsiSink& msi)
    : log_(log), clock_(clock), lines_(lines), msi_(msi), timer_(clock.make_timer([this] { timer_fired(); })) {}

void Hpet::reset() {
    std::lock_guard lock(mutex_);
    state_ = State{};
    for (unsigned n = 0; n < timer_count; ++n)
        drive(n);
    lines_.legacy_mode.lower();
    timer_->disarm();
}

void Hpet::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name(), 1, [&](u32) {
        archive.field("config", state_.config);
        archive.field("status", state_.status);
        archive.field("counter", state_.counter);
        archive.field("started", state_.started);
        archive.field("handled", state_.handled);
        for (TimerState& timer : state_.timers) {
            archive.field("timer_config", timer.config);
            archive.field("comparator", timer.comparator);
            archive.field("period", timer.period);
            archive.field("fsb", timer.fsb);
            archive.field("edge", timer.edge);
        }
    });
    if (!archive.loading()) return;
    lines_.legacy_mode.set(state_.config & leg_rt_cnf);
    for (unsigned n = 0; n < timer_count; ++n)
        drive(n);
    arm();
}

// --- counting

bool Hpet::running() const { return state_.config & enable_cnf; }

u64 Hpet::tick() const { return rate.ticks(clock_.now()); }

u64 Hpet::counter() const { return running() ? state_.counter + (tick() - state_.started) : state_.counter; }

u64 Hpet::width(const TimerState& timer) { return timer.config & tn_32mode ? low_mask(32) : ~u64{0}; }

// The main counter moves `elapsed` ticks on from state_.handled. Distances are modulo the timer's size.
// How often the comparator matched on the way.
u64 Hpet::advance(TimerState& timer, u64 elapsed) {
    const u64 mask = width(timer);
    const u64 distance = (timer.comparator - state_.handled - 1) & mask; // 0: the very next tick matches.
    if (elapsed <= distance) return 0;
    const u64 period = timer.period & mask;
    if (!(timer.config & tn_type) || period == 0) return 1;
    const u64 matches = 1 + (elapsed - distance - 1) / period;
    timer.comparator = (timer.comparator + matches * period) & mask;
    return matches;
}

void Hpet::catch_up() {
    if (!running()) return;
    const u64 now = counter();
    const u64 elapsed = now - state_.handled;
    if (elapsed == 0) return;
    for (unsigned n = 0; n < timer_count; ++n) {
        u64 matches = advance(state_.timers[n], elapsed);
        // Whoever counts ticks must see those that a late host has missed; faster ones are sent as one.
        const bool counted = n == 0 && legacy(n) && state_.timers[n].period >= slow_period;
        for (matches = std::min(matches, counted ? most_at_once : u64{1}); matches > 0; --matches)
            signal(n);
    }
    state_.handled = now;
}

void Hpet::arm() {
    Nanoseconds next = never;
    for (const TimerState& timer : state_.timers) {
        if (!running() || !(timer.config & tn_int_enb)) continue;
        const u64 distance = (timer.comparator - state_.handled - 1) & width(timer);
        const u64 from = state_.started + (state_.handled - state_.counter); // The clock's tick of `handled`.
        if (distance >= ~u64{0} - from) continue;
        const Nanoseconds time = rate.time(from + distance + 1);
        next = std::min(next, timer.config & tn_type ? std::max(time, not_before_) : time);
    }
    if (next == never)
        timer_->disarm();
    else
        timer_->arm(next);
}

void Hpet::timer_fired() {
    std::lock_guard lock(mutex_);
    not_before_ = clock_.now() + shortest_wait;
    catch_up();
    arm();
}

// --- interrupts

bool Hpet::legacy(unsigned n) const { return (state_.config & leg_rt_cnf) && n < 2; }

void Hpet::signal(unsigned n) {
    TimerState& timer = state_.timers[n];
    if (timer.config & tn_int_type) {
        state_.status |= u64{1} << n;
        return drive(n);
    }
    if (!(timer.config & tn_int_enb)) return;
    if ((timer.config & tn_fsb_en) && !legacy(n)) {
        const auto address = PhysicalAddress(timer.fsb >> 32);
        return msi_.send_msi(address, static_cast<u32>(timer.fsb));
    }
    timer.edge = false;
    drive(n);
    timer.edge = true;
    drive(n);
}

void Hpet::drive(unsigned n) {
    const TimerState& timer = state_.timers[n];
    Driven want;
    want.legacy = legacy(n);
    want.pin = want.legacy ? 0 : static_cast<unsigned>(bits(timer.config, tn_int_route_shift, 5));
    const bool asks = timer.config & tn_int_type ? bit(state_.status, n) : timer.edge;
    const bool by_line = want.legacy || !(timer.config & tn_fsb_en);
    want.level = asks && by_line && running() && (timer.config & tn_int_enb);
    const auto set = [&](const Driven& line, bool level) {
        if (line.legacy)
            (n == 0 ? lines_.legacy_irq0 : lines_.legacy_irq8).set(level);
        else if (lines_.pins && bit(route_capability, line.pin))
            lines_.pins->set_irq(lines_.first_pin + line.pin, level);
    };
    Driven& now = driven_[n];
    if (now.level && (!want.level || want.legacy != now.legacy || want.pin != now.pin)) {
        set(now, false);
        now.level = false;
    }
    if (want.level && !now.level) set(want, true);
    now = want;
}

// --- registers

u64 Hpet::read_register(u64 offset) const {
    switch (offset) {
    case gcap_id: return u64{period_fs} << 32 | block_id;
    case gen_conf: return state_.config;
    case gintr_sts: return state_.status;
    case main_cnt: return counter();
    default: break;
    }
    const u64 n = (offset - timer_block) / timer_stride;
    if (offset < timer_block || n >= timer_count) return 0;
    const TimerState& timer = state_.timers[n];
    switch (offset & (timer_stride - 1)) {
    case tn_conf: return timer.config | tn_capabilities;
    case tn_comparator: return timer.comparator & width(timer);
    case tn_fsb: return timer.fsb;
    default: return 0;
    }
}

void Hpet::write_register(u64 offset, u64 value, u64 mask) {
    const u64 merged = (read_register(offset) & ~mask) | (value & mask);
    if (offset == gen_conf) return write_general_config(merged);
    if (offset == gintr_sts) {
        state_.status &= ~(value & mask);
        for (unsigned n = 0; n < timer_count; ++n)
            drive(n);
        return;
    }
    if (offset == main_cnt) { // Meant for a counter that stands; one that runs goes on from the new value.
        state_.counter = merged;
        state_.started = tick();
        state_.handled = merged;
        return;
    }
    const u64 n = (offset - timer_block) / timer_stride;
    if (offset < timer_block || n >= timer_count) return;
    TimerState& timer = state_.timers[n];
    switch (offset & (timer_stride - 1)) {
    case tn_conf: return write_timer_config(timer, static_cast<unsigned>(n), merged);
    case tn_comparator: return write_comparator(timer, value, mask);
    case tn_fsb: timer.fsb = merged; return;
    default: return;
    }
}

void Hpet::write_general_config(u64 value) {
    const u64 old = state_.config;
    const u64 count = counter();
    state_.config = value & (enable_cnf | leg_rt_cnf);
    state_.counter = count;
    state_.started = tick();
    state_.handled = count;
    // The lines are let go before the board's wiring changes under them, and taken again after.
    if ((old ^ state_.config) & leg_rt_cnf) {
        log_.trace(Channel::timer, "hpet: legacy replacement {}", state_.config & leg_rt_cnf ? "on" : "off");
        for (TimerState& timer : state_.timers)
            timer.edge = false;
        for (unsigned n = 0; n < timer_count; ++n)
            drive(n);
        lines_.legacy_mode.set(state_.config & leg_rt_cnf);
        return;
    }
    for (unsigned n = 0; n < timer_count; ++n)
        drive(n);
}

void Hpet::write_timer_config(TimerState& timer, unsigned n, u64 value) {
    // A route that is not there does not stick (2.3.8, Tn_INT_ROUTE_CNF).
    if (!bit(route_capability, static_cast<unsigned>(bits(value, tn_int_route_shift, 5))))
        value = (value & ~tn_int_route) | (timer.config & tn_int_route);
    const u64 old = timer.config;
    timer.config = value & tn_writable;
    if ((old ^ timer.config) & (tn_int_type | tn_int_route | tn_fsb_en | tn_int_enb)) timer.edge = false;
    if (timer.config & tn_32mode) {
        timer.comparator &= low_mask(32);
        timer.period &= low_mask(32);
    }
    drive(n);
}

// In periodic mode a write sets the period; with VAL_SET it sets the next match too, once (2.3.9.2.2).
void Hpet::write_comparator(TimerState& timer, u64 value, u64 mask) {
    const bool periodic = timer.config & tn_type;
    const auto merge = [&](u64 old) { return ((old & ~mask) | (value & mask)) & width(timer); };
    timer.period = merge(timer.period);
    if (!periodic || (timer.config & tn_val_set)) timer.comparator = merge(timer.comparator);
    timer.config &= ~tn_val_set;
}

u64 Hpet::Mmio::read(u64 offset, unsigned size) {
    std::lock_guard lock(hpet_.mutex_);
    hpet_.catch_up();
    const unsigned at = static_cast<unsigned>(offset & 7);
    return hpet_.read_register(offset - at) >> (8 * at) & low_mask(8 * size);
}

void Hpet::Mmio::write(u64 offset, u64 value, unsigned size) {
    if (size < 4 || (offset & (size - 1))) {
        hpet_.log_.trace(Channel::mmio, "hpet: a write of {} bytes at {:03x} is no access to a register", size, offset);
        return;
    }
    std::lock_guard lock(hpet_.mutex_);
    const unsigned at = static_cast<unsigned>(offset & 7);
    hpet_.catch_up();
    hpet_.write_register(offset - at, value << (8 * at), low_mask(8 * size) << (8 * at));
    hpet_.arm();
}

} // namespace calque::devices
