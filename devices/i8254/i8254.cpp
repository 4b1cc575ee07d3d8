#include "devices/i8254/i8254.h"

#include "devices/tick_rate.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr TickRate rate{I8254::input_hz};
constexpr u8 port_61_gate_2 = 0x01;
constexpr u8 port_61_speaker_data = 0x02;
constexpr u8 port_61_writable = 0x0f; // With SERR# and IOCHK# disable (PIIX3, NMISC).
constexpr u8 port_61_refresh = 0x10;
constexpr u8 port_61_timer_2_output = 0x20;
// Counter 1 of a PC asks for a refresh every 18 ticks; the chipset toggles bit 4 with each.
constexpr u64 refresh_ticks = 18;
constexpr u64 slow_ticks = 596; // Half a millisecond.
constexpr u64 most_at_once = 250;
// A count of a few ticks would have the host do nothing else: edges closer than this are sent as one.
constexpr Nanoseconds shortest_wait = 20'000;
} // namespace

I8254::I8254(Log& log, Clock& clock, IrqLine irq0)
    : log_(log), clock_(clock), irq0_(irq0), timer_(clock.make_timer([this] { timer_fired(); })) {
    reset();
}

u64 I8254::tick() const { return rate.ticks(clock_.now()); }

void I8254::reset() {
    std::lock_guard lock(mutex_);
    for (I8254Counter& counter : counters_)
        counter.reset();
    state_ = State{};
    counters_[2].set_gate(false, tick());
    state_.handled = tick();
    irq0_.lower();
    update_irq();
}

void I8254::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name(), 1, [&](u32) {
        counters_[0].serialize(archive, "counter0");
        counters_[1].serialize(archive, "counter1");
        counters_[2].serialize(archive, "counter2");
        archive.field("port_61", state_.port_61);
        archive.field("handled", state_.handled);
        archive.field("line", state_.line);
    });
    if (!archive.loading()) return;
    irq0_.set(state_.line);
    update_irq();
}

// Sends what counter 0's OUT did since the last call, and sets the timer for what it does next.
void I8254::update_irq() {
    const u64 now = std::max(tick(), state_.handled);
    I8254Counter& counter = counters_[0];
    u64 rises = 0;
    if (counter.state().count_pending && counter.state().next_at > state_.handled && counter.state().next_at <= now) {
        rises = counter.rises(state_.handled, counter.state().next_at);
        state_.handled = counter.state().next_at;
    }
    counter.settle(now);
    rises += counter.rises(state_.handled, now);
    state_.handled = now;
    // Whoever counts ticks must see those that a late host has missed; faster ones are sent as one.
    if (rises > 1) rises = counter.state().count < slow_ticks ? 1 : std::min(rises, most_at_once);
    bool line = state_.line;
    for (u64 i = 0; i < rises; ++i) {
        if (line) irq0_.lower();
        irq0_.raise();
        line = true;
    }
    const bool level = counter.output(now);
    if (level != line) irq0_.set(level);
    state_.line = level;

    // A low pulse of one tick is not waited for: its end does both edges.
    const u64 next = counter.next_change(now);
    if (next == I8254Counter::no_change)
        timer_->disarm();
    else
        timer_->arm(std::max(rate.time(next), not_before_));
}

void I8254::timer_fired() {
    std::lock_guard lock(mutex_);
    not_before_ = clock_.now() + shortest_wait;
    update_irq();
}

void I8254::control(u8 value) {
    const unsigned select = value >> 6;
    const u64 now = tick();
    if (select == 3) { // Read-back.
        for (unsigned i = 0; i < 3; ++i) {
            if (!(value & (2u << i))) continue;
            if (!(value & 0x20)) counters_[i].latch_count(now);
            if (!(value & 0x10)) counters_[i].latch_status(now);
        }
    } else if ((value & 0x30) == 0) {
        counters_[select].latch_count(now);
    } else {
        log_.trace(Channel::timer, "8254: counter {} mode {}", select, value >> 1 & 7);
        counters_[select].write_control(value, now);
    }
}

bool I8254::output(unsigned counter) const {
    std::lock_guard lock(mutex_);
    I8254Counter copy = counters_[counter % 3];
    copy.settle(tick());
    return copy.output(tick());
}

u32 I8254::speaker_divisor() const {
    std::lock_guard lock(mutex_);
    return counters_[2].state().count;
}

bool I8254::speaker_enabled() const {
    std::lock_guard lock(mutex_);
    constexpr u8 both = port_61_gate_2 | port_61_speaker_data;
    return (state_.port_61 & both) == both;
}

u8 I8254::Ports::read_byte(u64 offset) {
    if (offset > 2) return 0xff; // The control word register cannot be read.
    std::lock_guard lock(pit_.mutex_);
    return pit_.counters_[offset].read(pit_.tick());
}

void I8254::Ports::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(pit_.mutex_);
    pit_.update_irq();
    if (offset < 3)
        pit_.counters_[offset].write(value, pit_.tick());
    else
        pit_.control(value);
    pit_.update_irq();
}

u8 I8254::Port61::read_byte(u64) {
    std::lock_guard lock(pit_.mutex_);
    const u64 now = pit_.tick();
    u8 value = pit_.state_.port_61;
    if (now / refresh_ticks & 1) value |= port_61_refresh;
    pit_.counters_[2].settle(now);
    if (pit_.counters_[2].output(now)) value |= port_61_timer_2_output;
    return value;
}

void I8254::Port61::write_byte(u64, u8 value) {
    std::lock_guard lock(pit_.mutex_);
    pit_.state_.port_61 = value & port_61_writable;
    pit_.counters_[2].set_gate(value & port_61_gate_2, pit_.tick());
}

} // namespace calque::devices
