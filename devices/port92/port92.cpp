#include "devices/port92/port92.h"

namespace calque::devices {

namespace {
constexpr u8 FAST_INIT = 1 << 0, FAST_A20 = 1 << 1;
} // namespace

Port92::Port92(Log& log, std::function<void(bool)> set_a20, std::function<void()> reset_cpu)
    : log_(log), set_a20_(std::move(set_a20)), reset_cpu_(std::move(reset_cpu)) {}

u8 Port92::read_byte(u64) {
    std::lock_guard lock(mutex_);
    return state_.value;
}

// A20 follows bit 1. A rising edge of bit 0 pulses INIT.
void Port92::write_byte(u64, u8 value) {
    u8 before = 0;
    value &= FAST_INIT | FAST_A20;
    {
        std::lock_guard lock(mutex_);
        before = state_.value;
        state_.value = value;
    }
    if (((value ^ before) & FAST_A20) && set_a20_) set_a20_(value & FAST_A20);
    if ((value & ~before & FAST_INIT) && reset_cpu_) {
        log_.trace(Channel::power, "port 92 resets the processors");
        reset_cpu_();
    }
}

void Port92::reset() {
    {
        std::lock_guard lock(mutex_);
        state_ = {};
    }
    if (set_a20_) set_a20_(false);
}

void Port92::serialize(Archive& archive) {
    u8 value = 0;
    {
        std::lock_guard lock(mutex_);
        archive.section("port92", 1, [&](u32) { archive.field("value", state_.value); });
        state_.value &= FAST_INIT | FAST_A20;
        value = state_.value;
    }
    if (archive.loading() && set_a20_) set_a20_(value & FAST_A20);
}

} // namespace calque::devices
