#include "devices/pc_router/pc_router.h"

#include "base/bits.h"

#include <algorithm>

namespace calque::devices {

namespace {
constexpr unsigned isa_count = 16;
constexpr unsigned ioapic_pins = 24;
constexpr unsigned cascade = 2;
constexpr unsigned clock_irq = 8;
constexpr unsigned coprocessor_irq = 13;
constexpr unsigned first_pirq_pin = 16;
constexpr u8 unrouted = 0x80;
} // namespace

PcRouter::PcRouter(Log& log, IrqSink& pic, IrqSink& ioapic, IrqLine ignne)
    : log_(log), pic_(pic), ioapic_(ioapic), ignne_(ignne) {}

void PcRouter::reset() {
    std::lock_guard lock(mutex_);
    State fresh;
    fresh.inputs = state_.inputs; // The devices' lines: each device resets its own.
    if (state_.ignne) ignne_.lower();
    state_ = fresh;
    update();
}

// The sinks save their inputs themselves, so a load tells them nothing.
void PcRouter::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name(), 2, [&](u32 version) {
        archive.field("inputs", state_.inputs);
        archive.field("pirq_route", state_.pirq_route);
        archive.field("coprocessor_error", state_.coprocessor_error);
        archive.field("ignne", state_.ignne);
        if (version < 2) return;
        archive.field("tick_waits", state_.tick_waits);
        archive.field("tick_given", state_.tick_given);
        archive.field("ticks_due", state_.ticks_due);
        if (archive.loading() && state_.ticks_due > most_ticks) archive.fail("more ticks are due than are counted");
    });
    if (!archive.loading()) return;
    pic_driven_ = levels(isa_count, &PcRouter::isa_level);
    ioapic_driven_ = levels(ioapic_pins, &PcRouter::pin_level);
    ignne_.set(state_.ignne);
}

bool PcRouter::timer_line() const {
    return state_.inputs[state_.inputs[hpet_legacy_mode] ? hpet_legacy_irq0 : isa + 0];
}

bool PcRouter::isa_level(unsigned irq) const {
    if (irq == cascade) return false;
    bool level = state_.inputs[isa + irq];
    if (irq == 0) level = timer_line() || state_.tick_given;
    if (state_.inputs[hpet_legacy_mode] && irq == clock_irq) level = state_.inputs[hpet_legacy_irq8];
    if (irq == coprocessor_irq) level |= state_.coprocessor_error;
    for (unsigned i = 0; i < state_.pirq_route.size(); ++i)
        if (state_.pirq_route[i] == irq) level |= state_.inputs[pirq + i];
    return level;
}

bool PcRouter::pin_level(unsigned pin) const {
    if (pin == 0) return false;
    bool level = state_.inputs[hpet + pin];
    if (pin == timer_pin) return level | isa_level(0);
    if (pin < isa_count) return level | isa_level(pin);
    level |= state_.inputs[gsi + pin];
    if (pin < first_pirq_pin + state_.pirq_route.size()) level |= state_.inputs[pirq + pin - first_pirq_pin];
    return level;
}

u32 PcRouter::levels(unsigned count, bool (PcRouter::*level)(unsigned) const) const {
    u32 all = 0;
    for (unsigned i = 0; i < count; ++i)
        if ((this->*level)(i)) all |= u32{1} << i;
    return all;
}

void PcRouter::update() {
    const u32 isa_levels = levels(isa_count, &PcRouter::isa_level);
    const u32 pin_levels = levels(ioapic_pins, &PcRouter::pin_level);
    for (unsigned i = 0; i < isa_count; ++i)
        if (bit(isa_levels ^ pic_driven_, i)) pic_.set_irq(i, bit(isa_levels, i));
    for (unsigned i = 0; i < ioapic_pins; ++i)
        if (bit(pin_levels ^ ioapic_driven_, i)) ioapic_.set_irq(i, bit(pin_levels, i));
    pic_driven_ = isa_levels;
    ioapic_driven_ = pin_levels;
}

void PcRouter::set_irq(unsigned number, bool level) {
    if (number >= input_count) return;
    std::lock_guard lock(mutex_);
    if (state_.inputs[number] == level) return;
    log_.trace(Channel::irq, "router: input {} is {}", number, level ? "high" : "low");
    const bool timer_before = timer_line();
    state_.inputs[number] = level;
    if (!timer_before && timer_line()) count_tick();
    if (number == ferr && level) state_.coprocessor_error = true;
    if (number == ferr && !level && state_.ignne) {
        state_.ignne = false;
        ignne_.lower();
    }
    update();
}

void PcRouter::count_tick() {
    if (!timer_listens_ || !timer_listens_()) {
        state_.tick_waits = state_.tick_given = false;
        state_.ticks_due = 0;
    } else if (state_.tick_waits) {
        state_.ticks_due = std::min(state_.ticks_due + 1, most_ticks);
    } else {
        state_.tick_waits = true;
    }
}

void PcRouter::timer_taken() {
    std::lock_guard lock(mutex_);
    if (!state_.tick_waits) return;
    state_.tick_waits = state_.tick_given = false;
    if (state_.ticks_due > 0) {
        --state_.ticks_due;
        // An edge: low first, whatever drives the line.
        pic_.set_irq(0, false);
        ioapic_.set_irq(timer_pin, false);
        pic_driven_ &= ~u32{1};
        ioapic_driven_ &= ~(u32{1} << timer_pin);
        state_.tick_waits = state_.tick_given = true;
    }
    update();
}

void PcRouter::set_pirq_route(unsigned number, std::optional<u8> isa_irq) {
    std::lock_guard lock(mutex_);
    if (number >= state_.pirq_route.size()) return;
    state_.pirq_route[number] = isa_irq && *isa_irq < isa_count ? *isa_irq : unrouted;
    update();
}

// PIIX3, coprocessor error register: a write clears IRQ 13 and asserts IGNNE# until FERR# goes away.
void PcRouter::CoprocessorPorts::write(u64, u64, unsigned) {
    std::lock_guard lock(router_.mutex_);
    State& state = router_.state_;
    state.coprocessor_error = false;
    if (state.inputs[ferr] && !state.ignne) {
        state.ignne = true;
        router_.ignne_.raise();
    }
    router_.update();
}

u64 PcRouter::CoprocessorPorts::read(u64, unsigned size) { return low_mask(8 * size); }

} // namespace calque::devices
