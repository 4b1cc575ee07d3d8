// The machine's time on a real host: the host's monotonic clock, standing still while the machine is stopped.
#pragma once

#include "base/archive.h"
#include "base/clock.h"
#include "frontend/machine/host_counter.h"

#include <array>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

namespace calque::machine {

// Timers fire on a thread of the clock's own. now() is lock-free while running.
class HostClock final : public Clock {
  public:
    // Starts stopped, at time 0. `wall_offset` is added to the host's UTC time (from -rtc base=).
    explicit HostClock(i64 wall_offset = 0);
    ~HostClock() override;

    Nanoseconds now() const override;
    const CurrentScale* scale() const override { return &scale_; }
    std::unique_ptr<Timer> make_timer(std::function<void()> callback) override;
    i64 wall_seconds() const override;

    void start();
    // After it returns no timer callback runs until start().
    void stop();
    void serialize(Archive& archive); // Only while stopped.

  private:
    class HostTimer;
    using Queue = std::multimap<Nanoseconds, HostTimer*>;
    void run();
    static u64 host_now();
    Nanoseconds now_running() const {
        const CounterScale* const scale = scale_.load();
        return scale ? now() : host_now() - origin_.load();
    }
    void measure(); // Under the mutex, while running, now and then.
    void set_scale(u64 counter, Nanoseconds value, u64 multiplier);

    template <class F> void change(F&& body); // Of what follows, so that now() sees all of it or nothing.
    std::atomic<u32> version_{0};             // Odd while it changes.
    std::atomic<bool> running_{false};
    std::atomic<u64> origin_{0}; // Host time at which the machine's time was 0, while running.
    std::atomic<u64> frozen_{0}; // The machine's time while stopped.
    // Time by the host's time-stamp counter, once its rate is known; kept to the host's clock by small changes of rate.
    CurrentScale scale_{nullptr};
    std::array<CounterScale, 64> scales_{}; // At most one a second is taken.
    std::size_t next_scale_ = 0;
    HostCounter::Sample measured_from_{}, measured_{}; // The first and the latest time that both were read.
    u64 multiplier_ = 0;                               // The rate: nanoseconds a tick, times 2^32; 0: not known yet.
    const bool has_counter_ = HostCounter::usable();
    i64 wall_offset_;

    std::mutex mutex_;
    std::condition_variable changed_; // The queue's head, running_ or quit_.
    std::condition_variable idle_;    // A callback has returned.
    Queue queue_;
    HostTimer* firing_ = nullptr;
    bool quit_ = false;
    std::thread thread_; // Last: it starts when all else is there.
};

} // namespace calque::machine
