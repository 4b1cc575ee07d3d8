// The local APIC's timer (SDM volume 3, 11.5.4).
#include "devices/lapic/lapic.h"
#include "devices/tick_rate.h"

#include <algorithm>

namespace calque::devices {

namespace {
// A period of a few ticks would have the host do nothing else: expiries closer than this are taken together.
constexpr Nanoseconds shortest_period = 20'000;
} // namespace

u64 LocalApic::timer_tick() const { return TickRate(config_.timer_hz).ticks(clock_.now()); }

// Bits 3, 1 and 0: 000 divides by 2, ... 110 by 128, 111 by 1.
u64 LocalApic::divider() const {
    const u32 code = (state_.timer_divide & 3) | (state_.timer_divide >> 1 & 4);
    return u64{1} << ((code + 1) & 7);
}

void LocalApic::timer_catch_up_held() {
    if (timer_mode() == lvt::timer_tsc_deadline) {
        if (state_.tsc_deadline == 0 || !tsc_ || tsc_->tsc() < state_.tsc_deadline) return;
        state_.tsc_deadline = 0;
        return local_event_held(LvtEntry::timer);
    }
    if (state_.timer_count == 0) return;
    const u64 elapsed = timer_tick() - state_.timer_start;
    const u64 left = state_.timer_count * divider();
    if (elapsed < left) return;
    if (timer_mode() == lvt::timer_periodic && state_.timer_initial != 0) {
        const u64 period = state_.timer_initial * divider();
        state_.timer_start += left + (elapsed - left) / period * period;
        state_.timer_count = state_.timer_initial;
    } else {
        state_.timer_count = 0;
    }
    local_event_held(LvtEntry::timer);
}

// A masked counter needs no host timer: whoever reads it calls timer_catch_up_held().
void LocalApic::timer_arm_held() {
    if (timer_mode() == lvt::timer_tsc_deadline) {
        if (state_.tsc_deadline == 0 || !tsc_) return timer_->disarm();
        return timer_->arm(std::max(tsc_->time_of_tsc(state_.tsc_deadline), clock_.now() + 1));
    }
    if (state_.timer_count == 0 || (state_.lvt[0] & lvt::masked)) return timer_->disarm();
    Nanoseconds next = TickRate(config_.timer_hz).time(state_.timer_start + state_.timer_count * divider());
    if (timer_mode() == lvt::timer_periodic) next = std::max(next, timer_not_before_);
    timer_->arm(next);
}

void LocalApic::timer_fired() {
    std::lock_guard lock(mutex_);
    timer_not_before_ = clock_.now() + shortest_period;
    timer_catch_up_held();
    timer_arm_held();
}

void LocalApic::timer_stop_held() {
    state_.timer_count = 0;
    state_.timer_initial = 0;
    state_.tsc_deadline = 0;
    timer_->disarm();
}

u32 LocalApic::timer_current_held() {
    timer_catch_up_held();
    if (state_.timer_count == 0) return 0;
    return state_.timer_count - static_cast<u32>((timer_tick() - state_.timer_start) / divider());
}

void LocalApic::write_timer_initial(u32 value) {
    std::lock_guard lock(mutex_);
    if (timer_mode() == lvt::timer_tsc_deadline) return; // Ignored in this mode.
    timer_catch_up_held();
    state_.timer_initial = value;
    state_.timer_count = value;
    state_.timer_start = timer_tick();
    timer_arm_held();
}

// A count that runs goes on from where it is, at the new rate.
void LocalApic::write_timer_divide(u32 value) {
    std::lock_guard lock(mutex_);
    state_.timer_count = timer_current_held();
    state_.timer_start = timer_tick();
    state_.timer_divide = value & 0xb;
    timer_arm_held();
}

void LocalApic::write_tsc_deadline(u64 value) {
    std::lock_guard lock(mutex_);
    if (timer_mode() != lvt::timer_tsc_deadline) return; // Ignored in the other modes.
    state_.tsc_deadline = value;
    timer_catch_up_held();
    timer_arm_held();
}

void LocalApic::tsc_changed() {
    std::lock_guard lock(mutex_);
    if (timer_mode() != lvt::timer_tsc_deadline) return;
    timer_catch_up_held();
    timer_arm_held();
}

} // namespace calque::devices
