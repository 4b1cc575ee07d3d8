// A terminal in raw mode, given back as it was.
#pragma once

#include "base/result.h"

namespace calque::backends {

// While it lives, the terminal passes every key on at once and echoes nothing. The terminal is set back when it is
// destroyed, when the process exits or is ended by a signal, and while the process is suspended. One at a time in a
// process: a signal handler has no other way to know the terminal. Does nothing when `fd` is not a terminal.
class RawTerminal {
  public:
    // `signals`: Ctrl-C, Ctrl-Z and Ctrl-\ keep their meaning for the process.
    RawTerminal(int fd, bool signals);
    ~RawTerminal();
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;

    bool active() const { return active_; }

  private:
    bool active_ = false;
};

} // namespace calque::backends
