// -daemonize: the program goes into the background when it is ready.
#pragma once

#include "base/result.h"
#include "frontend/backends/unique_fd.h"

namespace calque::cli {

// Before there is any thread. The process that was started waits for the one that goes on, and ends with status 0 when
// that one is ready, with 1 when it ended before.
class Daemon {
  public:
    // Returns in the new process only.
    Result<void> start();
    // Sockets listen, the machine is there. Lets go of the terminal.
    void ready();

  private:
    backends::UniqueFd parent_; // None: it was not asked for.
};

} // namespace calque::cli
