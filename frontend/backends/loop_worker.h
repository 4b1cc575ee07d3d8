// Devices' tasks on an I/O thread.
#pragma once

#include "devices/worker.h"
#include "frontend/backends/io_loop.h"

namespace calque::backends {

// Tasks may be made and destroyed while the loop is held.
class LoopWorker final : public devices::Worker, private PollSource {
  public:
    explicit LoopWorker(IoLoop& loop) : loop_(loop) { loop_.add(*this); }
    ~LoopWorker() override { loop_.remove(*this); } // Outlives its tasks, and not the loop.
    std::unique_ptr<devices::Task> make_task(std::function<void()> callback) override;

  private:
    class LoopTask;
    void poll_set(std::vector<pollfd>&) override {}
    void poll_ready(std::span<const pollfd>) override;

    IoLoop& loop_;
    std::mutex mutex_; // Held while tasks run; taken after the loop's.
    std::vector<LoopTask*> tasks_;
};

} // namespace calque::backends
