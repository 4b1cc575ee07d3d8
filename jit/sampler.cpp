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

void Sampler::post(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    wake_.notify_all();
}

void Sampler::do_tasks(std::unique_lock<std::mutex>& lock) {
    while (!tasks_.empty() && !quit_) {
        const std::function<void()> task = std::move(tasks_.front());
        tasks_.pop_front();
        lock.unlock();
        task();
        lock.lock();
        if (cpu_) cpu_->events.fetch_or(cpu::event_sample, std::memory_order_relaxed);
    }
}

void Sampler::run() {
    std::unique_lock lock(mutex_);
    constexpr unsigned patience = 8; // Periods without a vCPU that runs, before it has to call.
    unsigned idle = 0;
    while (!quit_) {
        if (idle >= patience) {
            asleep_ = true;
            wake_.wait(lock, [this] { return quit_ || cpu_ || !tasks_.empty(); });
            asleep_ = false;
            idle = 0;
        }
        const auto next = std::chrono::steady_clock::now() + period_;
        do {
            do_tasks(lock);
            wake_.wait_until(lock, next, [this] { return quit_ || !tasks_.empty(); });
        } while (!quit_ && !tasks_.empty());
        if (cpu_ && !quit_) cpu_->events.fetch_or(cpu::event_sample, std::memory_order_relaxed);
        idle = cpu_ ? 0 : idle + 1;
    }
}

} // namespace calque::jit
