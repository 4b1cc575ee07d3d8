#include "jit/sampler.h"

#include <algorithm>

namespace calque::jit {

Sampler::Sampler() : thread_([this] { run(); }) {}

Sampler::~Sampler() {
    {
        std::lock_guard lock(mutex_);
        quit_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Sampler::sample(cpu::Cpu& cpu) {
    std::lock_guard lock(mutex_);
    cpu_ = &cpu;
    if (asleep_) wake_.notify_all();
}

void Sampler::stop_sampling() {
    std::lock_guard lock(mutex_);
    if (cpu_) cpu_->withdraw(cpu::event_sample);
    cpu_ = nullptr;
}

void Sampler::found(bool anything) {
    std::lock_guard lock(mutex_);
    period_ = anything ? shortest : std::min(period_ * 2, longest);
}

void Sampler::run() {
    std::unique_lock lock(mutex_);
    constexpr unsigned patience = 8; // Periods without a vCPU that runs, before it has to call.
    unsigned idle = 0;
    while (!quit_) {
        if (idle >= patience) {
            asleep_ = true;
            wake_.wait(lock, [this] { return quit_ || cpu_; });
            asleep_ = false;
            idle = 0;
        }
        wake_.wait_for(lock, period_, [this] { return quit_; });
        if (cpu_ && !quit_) cpu_->events.fetch_or(cpu::event_sample, std::memory_order_relaxed);
        idle = cpu_ ? 0 : idle + 1;
    }
}

} // namespace calque::jit
