#include "frontend/machine/host_clock.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <sys/prctl.h>

namespace calque::machine {

class HostClock::HostTimer final : public Timer {
  public:
    HostTimer(HostClock& clock, std::function<void()> callback) : clock_(clock), callback_(std::move(callback)) {}
    ~HostTimer() override {
        std::unique_lock lock(clock_.mutex_);
        remove();
        // A callback under way uses the object: wait for it, unless it is the one that destroys the timer.
        if (std::this_thread::get_id() != clock_.thread_.get_id())
            clock_.idle_.wait(lock, [&] { return clock_.firing_ != this; });
    }
    void arm(Nanoseconds deadline) override {
        std::lock_guard lock(clock_.mutex_);
        remove();
        if (deadline == never) return;
        place_ = clock_.queue_.emplace(deadline, this);
        queued_ = true;
        if (place_ == clock_.queue_.begin()) clock_.changed_.notify_one();
    }
    void disarm() override {
        std::lock_guard lock(clock_.mutex_);
        remove();
    }

  private:
    friend class HostClock;
    void remove() {
        if (queued_) clock_.queue_.erase(place_);
        queued_ = false;
    }

    HostClock& clock_;
    std::function<void()> callback_;
    Queue::iterator place_;
    bool queued_ = false;
};

HostClock::HostClock(i64 wall_offset) : wall_offset_(wall_offset), thread_([this] { run(); }) {}

HostClock::~HostClock() {
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

u64 HostClock::host_now() {
    return static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

namespace {

constexpr u64 first_measurement = 100'000'000, between_measurements = 1'000'000'000; // Nanoseconds.
constexpr u64 most_error = 10'000'000;  // Beyond this the host's clock, or the counter, has stood still.
constexpr u64 catch_up = 2'000'000'000; // An error is made good in this time,
constexpr i64 most_slew = 500;          // but with no more than this, in parts in a million.

using Wide = unsigned __int128;

Nanoseconds at_counter(const CounterScale& scale, u64 counter) {
    return scale.value + static_cast<u64>((Wide{counter - scale.first} * scale.multiplier) >> 32);
}

} // namespace

Nanoseconds HostClock::now() const {
    if (const CounterScale* const scale = scale_.load(std::memory_order_acquire))
        return at_counter(*scale, HostCounter::now());
    for (;;) {
        const u32 version = version_.load();
        const Nanoseconds now = running_.load() ? host_now() - origin_.load() : frozen_.load();
        if (!(version & 1) && version_.load() == version) return now;
    }
}

// Under the mutex.
template <class F> void HostClock::change(F&& body) {
    version_.fetch_add(1);
    body();
    version_.fetch_add(1);
}

void HostClock::set_scale(u64 counter, Nanoseconds value, u64 multiplier) {
    CounterScale& scale = scales_[next_scale_++ % scales_.size()];
    // From a little before: who reads the counter first and the scale then, or on a processor that is behind, is not to
    // come out before its beginning.
    constexpr u64 margin = 1 << 20;
    scale = {counter - margin, value - static_cast<u64>((Wide{margin} * multiplier) >> 32), multiplier};
    scale_.store(&scale, std::memory_order_release);
}

// Learns the counter's rate and keeps the time by it near the host's clock.
void HostClock::measure() {
    if (!has_counter_) return;
    const u64 host = host_now();
    if (host - measured_.nanoseconds < (scale_.load() ? between_measurements : first_measurement)) return;
    measured_ = HostCounter::sample();
    const u64 ticks = measured_.counter - measured_from_.counter;
    const u64 passed = measured_.nanoseconds - measured_from_.nanoseconds;
    if (ticks == 0) return;
    multiplier_ = static_cast<u64>((Wide{passed} << 32) / ticks);
    const Nanoseconds by_host = measured_.nanoseconds - origin_;
    const CounterScale* const scale = scale_.load();
    if (!scale) {
        // Never back: a little more than what now() can have said.
        change([&] { set_scale(measured_.counter, by_host + 100, multiplier_); });
        return;
    }
    const Nanoseconds by_counter = at_counter(*scale, measured_.counter);
    const i64 behind = static_cast<i64>(by_host - by_counter);
    if (behind > static_cast<i64>(most_error) || -behind > static_cast<i64>(most_error)) {
        origin_ = measured_.nanoseconds - by_counter;
        measured_from_ = measured_;
        return;
    }
    const i64 millionths = std::clamp(behind * 1'000'000 / static_cast<i64>(catch_up), -most_slew, most_slew);
    const i64 change_of_rate = static_cast<i64>(multiplier_ / 1'000'000) * millionths;
    set_scale(measured_.counter, by_counter, multiplier_ + static_cast<u64>(change_of_rate));
}

i64 HostClock::wall_seconds() const { return static_cast<i64>(std::time(nullptr)) + wall_offset_; }

std::unique_ptr<Timer> HostClock::make_timer(std::function<void()> callback) {
    return std::make_unique<HostTimer>(*this, std::move(callback));
}

void HostClock::start() {
    std::lock_guard lock(mutex_);
    if (running_) return;
    change([this] {
        origin_ = host_now() - frozen_;
        running_ = true;
        if (!has_counter_) return;
        measured_from_ = measured_ = HostCounter::sample();
        if (multiplier_ != 0) set_scale(measured_.counter, frozen_, multiplier_);
    });
    changed_.notify_one();
}

void HostClock::stop() {
    std::unique_lock lock(mutex_);
    if (!running_) return;
    change([this] {
        frozen_ = now_running();
        scale_ = nullptr;
        running_ = false;
    });
    idle_.wait(lock, [&] { return firing_ == nullptr; });
}

void HostClock::serialize(Archive& archive) {
    archive.section("clock", 1, [&](u32) {
        u64 now = frozen_;
        archive.field("now", now);
        if (archive.loading() && archive.ok()) change([&] { frozen_ = now; });
    });
}

void HostClock::run() {
    prctl(PR_SET_TIMERSLACK, 1000UL); // Guests ask for ticks; the default slack of 50 us would show.
    std::unique_lock lock(mutex_);
    while (!quit_) {
        if (!running_ || queue_.empty()) {
            const bool measures = running_ && has_counter_ && !scale_.load();
            if (measures)
                changed_.wait_for(lock, std::chrono::nanoseconds(first_measurement));
            else
                changed_.wait(lock);
            if (running_) measure();
            continue;
        }
        const Nanoseconds deadline = queue_.begin()->first;
        measure();
        const Nanoseconds now = now_running();
        if (deadline > now) {
            changed_.wait_for(lock, std::chrono::nanoseconds(deadline - now));
            continue;
        }
        HostTimer* timer = queue_.begin()->second;
        timer->remove();
        firing_ = timer;
        lock.unlock();
        timer->callback_();
        lock.lock();
        firing_ = nullptr;
        idle_.notify_all();
    }
}

} // namespace calque::machine
