// A Clock whose time moves only when told to: for tests and for deterministic runs.
#pragma once

#include "base/clock.h"

#include <list>

namespace calque {

// Not thread-safe. Timers fire in deadline order inside advance(); now() equals the deadline while a callback runs.
class ManualClock final : public Clock {
  public:
    Nanoseconds now() const override { return now_; }
    std::unique_ptr<Timer> make_timer(std::function<void()> callback) override;
    i64 wall_seconds() const override { return wall_start_ + static_cast<i64>(now_ / 1'000'000'000); }

    void advance(Nanoseconds duration);
    void set_wall_start(i64 seconds) { wall_start_ = seconds; }
    // The next deadline, or `never`.
    Nanoseconds next_deadline() const;

  private:
    class ManualTimer;
    Nanoseconds now_ = 0;
    i64 wall_start_ = 0;
    std::list<ManualTimer*> timers_;
};

} // namespace calque
