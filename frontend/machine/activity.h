// How busy a machine is, from one look to the next: what a status line shows.
#pragma once

#include "frontend/machine/machine.h"

namespace calque::machine {

struct Activity {
    double processors = 0;              // Of one host core, by all vCPUs together: 0 to their number.
    std::optional<double> instructions; // A second, by all vCPUs; unset where translated code does not count them.
    double translated = 0;              // Units a second.
    bool disk_read = false, disk_written = false;
    bool network_in = false, network_out = false;
};

class ActivityMeter {
  public:
    // The machine must outlive it.
    explicit ActivityMeter(Machine& machine) : machine_(machine), before_(count()) {}

    // What has been done in the `nanoseconds` since the last look (not 0). Any one thread; the guest goes on.
    Activity look(u64 nanoseconds);

  private:
    struct Counts {
        u64 cpu_time = 0, instructions = 0, units = 0, reads = 0, writes = 0, frames_in = 0, frames_out = 0;
    };
    Counts count() const;

    Machine& machine_;
    Counts before_;
};

} // namespace calque::machine
