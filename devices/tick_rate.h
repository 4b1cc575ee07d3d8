// Conversion between the clock's nanoseconds and the ticks of an oscillator, exact to the tick.
#pragma once

#include "base/clock.h"
#include "base/types.h"

namespace calque::devices {

class TickRate {
  public:
    constexpr explicit TickRate(u64 hz) : hz_(hz) {}
    constexpr u64 hz() const { return hz_; }

    // How many ticks have happened by `time`.
    constexpr u64 ticks(Nanoseconds time) const { return static_cast<u64>(u128{time} * hz_ / second); }
    // The first moment at which ticks() reaches `tick`; `never` when that is past the clock's range.
    constexpr Nanoseconds time(u64 tick) const {
        const u128 time = (u128{tick} * second + hz_ - 1) / hz_;
        return time >= never ? never : static_cast<Nanoseconds>(time);
    }

  private:
    static constexpr u64 second = 1'000'000'000;
    u64 hz_;
};

} // namespace calque::devices
