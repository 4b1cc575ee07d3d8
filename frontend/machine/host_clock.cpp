#include "frontend/machine/host_clock.h"

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

Nanoseconds HostClock::now() const {
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
    });
    changed_.notify_one();
}

void HostClock::stop() {
    std::unique_lock lock(mutex_);
    if (!running_) return;
    change([this] {
        frozen_ = host_now() - origin_;
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
            changed_.wait(lock);
            continue;
        }
        const Nanoseconds deadline = queue_.begin()->first;
        const Nanoseconds now = host_now() - origin_;
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
