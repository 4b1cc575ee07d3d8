// A worker whose tasks run when a test says so.
#pragma once

#include "devices/worker.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace calque::devices::test {

class ManualWorker final : public Worker {
  public:
    std::unique_ptr<Task> make_task(std::function<void()> callback) override {
        return std::make_unique<ManualTask>(*this, std::move(callback));
    }
    // Runs what is scheduled, and what that schedules, for at most `rounds` rounds. Returns how many tasks ran.
    unsigned run(unsigned rounds = 16) {
        unsigned count = 0;
        for (bool again = true; again && rounds != 0; --rounds) {
            again = false;
            for (std::size_t i = 0; i < tasks_.size(); ++i)
                if (tasks_[i]->run()) ++count, again = true;
        }
        return count;
    }

  private:
    class ManualTask final : public Task {
      public:
        ManualTask(ManualWorker& worker, std::function<void()> callback)
            : worker_(worker), callback_(std::move(callback)) {
            worker_.tasks_.push_back(this);
        }
        ~ManualTask() override { std::erase(worker_.tasks_, this); }
        void schedule() override { scheduled_ = true; }
        bool run() {
            if (!std::exchange(scheduled_, false)) return false;
            callback_();
            return true;
        }

      private:
        ManualWorker& worker_;
        std::function<void()> callback_;
        bool scheduled_ = false;
    };
    std::vector<ManualTask*> tasks_;
};

} // namespace calque::devices::test
