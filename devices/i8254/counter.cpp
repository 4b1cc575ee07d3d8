#include "devices/i8254/counter.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr u8 rw_high = 2;
constexpr u8 rw_both = 3;
constexpr u8 status_out = 0x80;
constexpr u8 status_null = 0x40;

u8 rw(const I8254Counter::State& state) { return (state.control >> 4) & 3; }

u32 from_bcd(u32 digits) {
    u32 value = 0;
    for (int shift = 12; shift >= 0; shift -= 4)
        value = value * 10 + ((digits >> shift) & 15);
    return value % 10000;
}

u16 to_bcd(u32 value) {
    return static_cast<u16>(value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10);
}
} // namespace

void I8254Counter::reset() {
    const bool gate = state_.gate;
    state_ = State{};
    state_.gate = gate;
}

// Modes 6 and 7 are 2 and 3: the datasheet's table has "don't care" in the top bit.
unsigned I8254Counter::mode() const {
    const unsigned mode = (state_.control >> 1) & 7;
    return mode > 5 ? mode - 4 : mode;
}

bool I8254Counter::running() const { return state_.loaded && (state_.triggered || (mode() != 1 && mode() != 5)); }

// Ticks since the count was loaded; negative while the load is still to come.
i64 I8254Counter::elapsed(u64 tick) const {
    const u64 at = state_.paused ? state_.paused_at : tick;
    return static_cast<i64>(at - state_.start);
}

void I8254Counter::write_control(u8 value, u64 tick) {
    const State old = state_;
    state_ = State{};
    state_.control = value & 0x3f;
    state_.gate = old.gate;
    state_.count = bcd() ? 10000 : 0x10000;
    state_.start = tick;
}

void I8254Counter::load(u32 count, u64 tick) {
    state_.count = count;
    state_.count_pending = false;
    state_.start = tick + 1;
    state_.paused = false;
    // GATE at 0 does not keep modes 0 and 4 from loading, nor 2 and 3 from waiting for it with the count.
    if (!state_.gate && mode() != 1 && mode() != 5) {
        state_.paused = true;
        state_.paused_at = state_.start;
    }
}

// A new count for a counter that runs: when it is taken depends on the mode.
void I8254Counter::schedule(u32 count, u64 tick) {
    const unsigned m = mode();
    if (m == 0 || m == 4) return load(count, tick);
    if (m == 1 || m == 5) {
        state_.next_count = count;
        state_.count_pending = true;
        return;
    }
    const i64 passed = elapsed(tick);
    if (state_.paused || passed < 0) return load(count, tick);
    const u64 into = static_cast<u64>(passed) % state_.count;
    const u64 left = m == 3 && into < high_half() ? high_half() - into : state_.count - into;
    state_.next_count = count;
    state_.next_at = tick + left;
    state_.count_pending = true;
}

void I8254Counter::settle(u64 tick) {
    const unsigned m = mode();
    if (!state_.count_pending || (m != 2 && m != 3) || state_.paused || tick < state_.next_at) return;
    const bool low_half_next =
        m == 3 && static_cast<u64>(elapsed(state_.next_at)) % state_.count == high_half() && state_.count > 1;
    state_.count = state_.next_count;
    state_.count_pending = false;
    // Modulo 2^64 before power-on: only differences to `start` are used.
    state_.start = state_.next_at - (low_half_next ? high_half() : 0);
}

void I8254Counter::write(u8 value, u64 tick) {
    settle(tick);
    if (rw(state_) == rw_both && !state_.write_high) {
        state_.low_byte = value;
        state_.write_high = true;
        if (mode() == 0) state_.loaded = false; // The first byte stops the count and sets OUT low.
        return;
    }
    u32 raw = value;
    if (rw(state_) == rw_both) raw = u32{value} << 8 | state_.low_byte;
    if (rw(state_) == rw_high) raw = u32{value} << 8;
    state_.write_high = false;
    u32 count = bcd() ? from_bcd(raw) : raw;
    if (count == 0) count = bcd() ? 10000 : 0x10000;
    if (state_.loaded) return schedule(count, tick);
    state_.loaded = true;
    load(count, tick);
    if (mode() == 1 || mode() == 5) state_.count_pending = true, state_.next_count = count;
}

void I8254Counter::set_gate(bool gate, u64 tick) {
    settle(tick);
    if (gate == state_.gate) return;
    state_.gate = gate;
    const unsigned m = mode();
    if (m == 1 || m == 5) {
        if (!gate || !state_.loaded) return;
        state_.triggered = true;
        return load(state_.count_pending ? state_.next_count : state_.count, tick);
    }
    if (!gate) {
        if (state_.paused) return;
        state_.paused = true;
        state_.paused_at = std::max(tick, state_.start);
        return;
    }
    if (!state_.paused) return;
    if (m == 2 || m == 3) return load(state_.count_pending ? state_.next_count : state_.count, tick);
    state_.start += tick - std::min(tick, state_.paused_at);
    state_.paused = false;
}

bool I8254Counter::output(u64 tick) const {
    const unsigned m = mode();
    const i64 passed = elapsed(tick);
    if (!running() || passed < 0) return m != 0;
    const u64 e = static_cast<u64>(passed);
    switch (m) {
    case 0:
    case 1: return e >= state_.count;
    // A count of 1 is illegal in modes 2 and 3: OUT stays high.
    case 2: return state_.paused || state_.count == 1 || e % state_.count != state_.count - 1;
    case 3: return state_.paused || e % state_.count < high_half();
    default: return e != state_.count;
    }
}

u64 I8254Counter::rises(u64 from, u64 to) const {
    if (!running() || state_.paused || to <= from) return 0;
    const i64 before = elapsed(from);
    const i64 after = elapsed(to);
    if (after < 0) return 0;
    const unsigned m = mode();
    if (m == 2 || m == 3) {
        if (state_.count == 1) return 0;
        const u64 periods = before < 0 ? 0 : static_cast<u64>(before) / state_.count;
        return static_cast<u64>(after) / state_.count - periods;
    }
    const i64 at = i64{state_.count} + (m >= 4);
    return before < at && after >= at;
}

u64 I8254Counter::next_change(u64 tick) const {
    if (!running() || state_.paused) return no_change;
    const i64 passed = elapsed(tick);
    const unsigned m = mode();
    if (m == 2 || m == 3) {
        if (state_.count == 1) return no_change;
        if (passed < 0) return state_.start + (m == 3 ? high_half() : state_.count);
        const u64 into = static_cast<u64>(passed) % state_.count;
        return tick + (m == 3 && into < high_half() ? high_half() - into : state_.count - into);
    }
    const i64 at = i64{state_.count} + (m >= 4);
    if (passed >= at) return no_change;
    return tick + static_cast<u64>(at - passed);
}

u16 I8254Counter::value(u64 tick) const {
    const u64 e = running() ? static_cast<u64>(std::max<i64>(elapsed(tick), 0)) : 0;
    const u64 modulus = bcd() ? 10000 : 0x10000;
    u64 value = 0;
    if (mode() == 2) {
        value = state_.count - e % state_.count;
    } else if (mode() == 3) {
        // Counts by two from the even part of the count, once in each half.
        const u64 into = e % state_.count;
        value = (state_.count & ~1u) - 2 * (into < high_half() ? into : into - high_half());
    } else {
        value = state_.count + modulus - e % modulus;
    }
    value %= modulus;
    return bcd() ? to_bcd(static_cast<u32>(value)) : static_cast<u16>(value);
}

bool I8254Counter::null_count(u64 tick) const {
    if (!state_.loaded || state_.count_pending) return true;
    return elapsed(tick) < 0;
}

void I8254Counter::latch_count(u64 tick) {
    settle(tick);
    if (state_.latched_bytes) return; // Held until it is read.
    state_.latch = value(tick);
    state_.latched_bytes = rw(state_) == rw_both ? 2 : 1;
}

void I8254Counter::latch_status(u64 tick) {
    settle(tick);
    if (state_.status_latched) return;
    state_.status_latched = true;
    state_.status = state_.control;
    if (output(tick)) state_.status |= status_out;
    if (null_count(tick)) state_.status |= status_null;
}

u8 I8254Counter::read(u64 tick) {
    settle(tick);
    if (state_.status_latched) {
        state_.status_latched = false;
        return state_.status;
    }
    const u16 count = state_.latched_bytes ? state_.latch : value(tick);
    bool high = rw(state_) == rw_high;
    if (rw(state_) == rw_both) {
        high = state_.read_high;
        state_.read_high = !state_.read_high;
    }
    if (state_.latched_bytes) --state_.latched_bytes;
    return static_cast<u8>(high ? count >> 8 : count);
}

void I8254Counter::serialize(Archive& archive, std::string_view section) {
    archive.section(section, 1, [&](u32) {
        archive.field("control", state_.control);
        archive.field("gate", state_.gate);
        archive.field("loaded", state_.loaded);
        archive.field("triggered", state_.triggered);
        archive.field("paused", state_.paused);
        archive.field("count_pending", state_.count_pending);
        archive.field("write_high", state_.write_high);
        archive.field("read_high", state_.read_high);
        archive.field("status_latched", state_.status_latched);
        archive.field("latched_bytes", state_.latched_bytes);
        archive.field("low_byte", state_.low_byte);
        archive.field("status", state_.status);
        archive.field("latch", state_.latch);
        archive.field("count", state_.count);
        archive.field("next_count", state_.next_count);
        archive.field("next_at", state_.next_at);
        archive.field("start", state_.start);
        archive.field("paused_at", state_.paused_at);
        const auto valid = [](u32 count) { return count >= 1 && count <= 0x10000; };
        if (archive.loading() && (!valid(state_.count) || !valid(state_.next_count) || state_.latched_bytes > 2))
            archive.fail("an 8254 has no such state");
    });
}

} // namespace calque::devices
