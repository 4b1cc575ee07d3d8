// The I/O thread: waits with poll() for every host file that a backend reads or writes.
#pragma once

#include "base/types.h"

#include <atomic>
#include <mutex>
#include <poll.h>
#include <span>
#include <thread>
#include <vector>

namespace calque::backends {

// A user of the loop. Its functions run on the loop's thread.
class PollSource {
  public:
    virtual ~PollSource() = default;
    // Adds the descriptors and events to wait for now. A descriptor with no events must be left out: poll() reports a
    // hang-up even for those.
    virtual void poll_set(std::vector<pollfd>& set) = 0;
    // What became of the descriptors that poll_set() added, in the same order. Called after each wait.
    virtual void poll_ready(std::span<const pollfd> ready) = 0;
    // Asked after poll_set(): when poll_ready() must be called at the latest, in milliseconds; -1 for no such time.
    virtual int poll_timeout() { return -1; }
};

// One thread for all sources; it sleeps while nothing happens. All signals but those of faults are blocked on it, so
// that a closed pipe is an error and not the end of the process.
class IoLoop {
  public:
    IoLoop();
    ~IoLoop(); // Every source must have been removed.
    IoLoop(const IoLoop&) = delete;
    IoLoop& operator=(const IoLoop&) = delete;

    void add(PollSource& source); // Not owned.
    // After it returns, no function of the source runs or will run. (On the loop's own thread: will run.)
    void remove(PollSource& source);
    // While the lock is held no function of any source runs: no input reaches a device. Not on the loop's own thread.
    std::unique_lock<std::mutex> hold() { return std::unique_lock(mutex_); }
    // Makes the loop ask the sources again. Any thread, never blocks.
    void wake();
    bool on_loop_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

  private:
    void run();
    void dispatch(const std::vector<pollfd>& set, const std::vector<std::pair<PollSource*, std::size_t>>& owners);

    int wake_fd_ = -1;
    std::atomic<bool> stop_{false};
    std::atomic<bool> sleeping_{false}; // In poll(), or about to be.
    std::atomic<bool> woken_{false};    // Since the last round began.
    std::mutex mutex_;                  // Held while sources run.
    std::vector<PollSource*> sources_;
    std::thread thread_;
};

} // namespace calque::backends
