#include "frontend/backends/loop_worker.h"

#include <algorithm>

namespace calque::backends {

class LoopWorker::LoopTask final : public devices::Task {
  public:
    LoopTask(LoopWorker& worker, std::function<void()> callback) : worker_(worker), callback_(std::move(callback)) {
        std::lock_guard lock(worker_.mutex_);
        worker_.tasks_.push_back(this);
    }
    ~LoopTask() override {
        std::lock_guard lock(worker_.mutex_);
        std::erase(worker_.tasks_, this);
    }
    void schedule() override {
        if (!scheduled_.exchange(true)) worker_.loop_.wake();
    }
    void run() {
        if (scheduled_.exchange(false)) callback_();
    }

  private:
    LoopWorker& worker_;
    std::function<void()> callback_;
    std::atomic<bool> scheduled_{false};
};

std::unique_ptr<devices::Task> LoopWorker::make_task(std::function<void()> callback) {
    return std::make_unique<LoopTask>(*this, std::move(callback));
}

void LoopWorker::poll_ready(std::span<const pollfd>) {
    std::lock_guard lock(mutex_);
    for (LoopTask* task : tasks_)
        task->run();
}

} // namespace calque::backends
