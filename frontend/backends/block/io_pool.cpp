#include "frontend/backends/block/io_pool.h"

#include <csignal>
#include <pthread.h>

namespace calque::backends {

IoPool::~IoPool() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    came_.notify_all();
    // Nobody submits any more but the jobs themselves, and these find threads that are still here.
    for (std::thread& thread : threads_)
        thread.join();
}

void IoPool::submit(std::function<void()> job) {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (jobs_.size() > idle_ && threads_.size() < most_ && !stop_) {
        sigset_t all, before;
        sigfillset(&all);
        for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT})
            sigdelset(&all, fault);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        threads_.emplace_back([this] { run(); });
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }
    came_.notify_one();
}

void IoPool::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        came_.wait(lock, [&] { return !jobs_.empty() || stop_; });
        --idle_;
        if (jobs_.empty()) return;
        const auto job = std::move(jobs_.front());
        jobs_.pop_front();
        lock.unlock();
        job();
        lock.lock();
    }
}

} // namespace calque::backends
