// A machine's state sent while the guest runs: RAM first, again what it writes meanwhile, the rest while it stands
// still.
#pragma once

#include "frontend/backends/state/stream.h"
#include "frontend/machine/background.h"
#include "frontend/machine/page_set.h"

#include <functional>

namespace calque::machine {

class Machine;

struct LiveProgress {
    u64 passes = 0;      // Over what was written.
    u64 dirty_bytes = 0; // Found by the last of them.
    u64 sent_bytes = 0;
    u64 all_bytes = 0; // Of RAM that the host has memory for.
};

class LiveState {
  public:
    // Both must outlive it.
    LiveState(Machine& machine, backends::StateSink& sink) : machine_(machine), writer_(sink) {}

    // Sends passes of RAM until `enough` says so of what is left, or it is cancelled (then it fails). On a thread of
    // its own, while the guest may run.
    Result<void> send_running(const Background::Context& context,
                              const std::function<bool(const LiveProgress&)>& enough);
    // The rest, while the guest stands still.
    Result<void> send_rest();
    const LiveProgress& progress() const { return progress_; }
    void watch(std::function<void(const LiveProgress&)> watcher) { watcher_ = std::move(watcher); }

  private:
    Result<void> send(const Background::Context* context, const PageSet& pages, bool zeros);
    Machine& machine_;
    backends::StateWriter writer_;
    PageSet left_; // Found dirty and not sent since.
    LiveProgress progress_;
    std::function<void(const LiveProgress&)> watcher_; // Told of each record. May be empty.
};

} // namespace calque::machine
