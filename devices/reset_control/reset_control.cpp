#include "devices/reset_control/reset_control.h"

namespace calque::devices {

namespace {
constexpr u8 SRST = 1 << 1, RCPU = 1 << 2;
} // namespace

u8 ResetControl::read_byte(u64) {
    std::lock_guard lock(mutex_);
    return state_.value;
}

// SRST says what kind of reset the rising edge of RCPU starts. RCPU is never seen set: the reset clears it.
void ResetControl::write_byte(u64, u8 value) {
    {
        std::lock_guard lock(mutex_);
        state_.value = value & SRST;
    }
    if (!(value & RCPU)) return;
    log_.trace(Channel::power, "port CF9 asks for a {} reset", value & SRST ? "hard" : "soft");
    if (reset_) reset_((value & SRST) != 0);
}

void ResetControl::reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
}

void ResetControl::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section("reset_control", 1, [&](u32) { archive.field("value", state_.value); });
    state_.value &= SRST;
}

} // namespace calque::devices
