#include "base/manual_clock.h"

#include <algorithm>

namespace calque {

class ManualClock::ManualTimer final : public Timer {
  public:
    ManualTimer(ManualClock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {
        clock_.timers_.push_back(this);
    }
    ~ManualTimer() override { clock_.timers_.remove(this); }
    void arm(Nanoseconds deadline) override { deadline_ = deadline; }
    void disarm() override { deadline_ = never; }

    Nanoseconds deadline() const { return deadline_; }
    void fire() {
        deadline_ = never;
        callback_();
    }

  private:
    ManualClock& clock_;
    std::function<void()> callback_;
    Nanoseconds deadline_ = never;
};

std::unique_ptr<Timer> ManualClock::make_timer(std::function<void()> callback) {
    return std::make_unique<ManualTimer>(*this, std::move(callback));
}

Nanoseconds ManualClock::next_deadline() const {
    Nanoseconds next = never;
    for (const ManualTimer* timer : timers_)
        next = std::min(next, timer->deadline());
    return next;
}

void ManualClock::advance(Nanoseconds duration) {
    const Nanoseconds end = now_ + duration;
    for (;;) {
        ManualTimer* first = nullptr;
        for (ManualTimer* timer : timers_)
            if (timer->deadline() <= end && (!first || timer->deadline() < first->deadline())) first = timer;
        if (!first) break;
        now_ = std::max(now_, first->deadline());
        first->fire();
    }
    now_ = end;
}

} // namespace calque
