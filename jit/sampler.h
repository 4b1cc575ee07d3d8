// Asks a vCPU now and then where it is, and does what takes long beside it.
#pragma once

#include "cpu/cpu.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace calque::jit {

// Sets cpu::event_sample while the vCPU runs, from a thread of its own, which sleeps while it does not.
class Sampler {
  public:
    using Time = std::chrono::microseconds;
    static constexpr Time shortest{1000}, longest{32'000};

    Sampler();
    ~Sampler();
    Sampler(const Sampler&) = delete;
    Sampler& operator=(const Sampler&) = delete;

    // The vCPU's own thread: it runs from now on, and until then.
    void sample(cpu::Cpu& cpu);
    void stop_sampling();
    // What the last sample was good for: the next ones come sooner, or later.
    void found(bool anything);
    // Something for this thread to do, after which the vCPU is asked again.
    void post(std::function<void()> task);

  private:
    void run();
    void do_tasks(std::unique_lock<std::mutex>& lock);

    std::mutex mutex_;
    std::condition_variable wake_;
    cpu::Cpu* cpu_ = nullptr; // Runs.
    Time period_ = shortest;
    std::deque<std::function<void()>> tasks_;
    bool quit_ = false, asleep_ = false;
    std::thread thread_;
};

} // namespace calque::jit
