// Time and timers. Everything that depends on time gets it through a Clock, so that time can be virtual.
#pragma once

#include "base/types.h"

#include <atomic>
#include <functional>
#include <memory>

namespace calque {

using Nanoseconds =
    u64; // Since the machine's power-on, never going back; it stands still while the machine is stopped.

inline constexpr Nanoseconds never = ~Nanoseconds{0};

// A one-shot timer. Destroying it disarms it. The callback runs on the clock's own thread (or inside
// ManualClock::advance), never inside arm(); after disarm() or arm() returns, an older deadline no longer fires, except
// where the callback is already under way.
class Timer {
  public:
    virtual ~Timer() = default;
    virtual void arm(Nanoseconds deadline) = 0; // Absolute; a deadline in the past fires as soon as it can.
    virtual void disarm() = 0;
};

// How a clock's time follows from the host's time-stamp counter:
// value + ((counter - first) * multiplier >> 32), with a product of 128 bits.
struct CounterScale {
    u64 first = 0;
    u64 value = 0;
    u64 multiplier = 0;
};
// Which scale holds now; null while there is none. A scale stays readable for some seconds after it was replaced.
using CurrentScale = std::atomic<const CounterScale*>;

class Clock {
  public:
    virtual ~Clock() = default;
    virtual Nanoseconds now() const = 0;
    // For code that reads the counter itself, as long as the clock lives; null for a clock that never has a scale.
    virtual const CurrentScale* scale() const { return nullptr; }
    virtual std::unique_ptr<Timer> make_timer(std::function<void()> callback) = 0;
    // Wall-clock seconds since 1970-01-01 UTC that a real-time clock shows at now().
    virtual i64 wall_seconds() const = 0;
};

} // namespace calque
