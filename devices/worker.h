// Work that a device does off the vCPUs' threads: queues, commands, whatever may take a while.
#pragma once

#include <functional>
#include <memory>

namespace calque::devices {

// Scheduling it any number of times before it runs makes it run once. It runs on the worker's thread, never inside
// schedule(). After its destruction has returned it does not run any more.
class Task {
  public:
    virtual ~Task() = default;
    virtual void schedule() = 0; // Any thread; never blocks.
};

class Worker {
  public:
    virtual ~Worker() = default;
    virtual std::unique_ptr<Task> make_task(std::function<void()> callback) = 0;
};

} // namespace calque::devices
