// The threads on which disks wait for the host.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace calque::backends {

// Runs jobs in the order of their coming, several at a time. A thread is made when a job finds none idle, up to the
// bound. All signals but those of faults are blocked on them.
class IoPool {
  public:
    explicit IoPool(unsigned threads = 8) : most_(threads) {}
    ~IoPool(); // Runs what has come, then ends the threads.
    IoPool(const IoPool&) = delete;
    IoPool& operator=(const IoPool&) = delete;

    void submit(std::function<void()> job); // Any thread, jobs too.

  private:
    void run();

    const unsigned most_;
    std::mutex mutex_;
    std::condition_variable came_;
    std::deque<std::function<void()>> jobs_;
    std::size_t idle_ = 0;
    bool stop_ = false;
    std::vector<std::thread> threads_;
};

} // namespace calque::backends
