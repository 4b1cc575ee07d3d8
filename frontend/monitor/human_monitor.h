// The human monitor: commands by line, on a character backend.
#pragma once

#include "devices/char_backend.h"
#include "frontend/machine/machine.h"
#include "frontend/monitor/commands.h"

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

namespace calque::monitor {

class HumanMonitor {
  public:
    // Both must outlive the monitor.
    HumanMonitor(machine::Machine& machine, devices::CharBackend& backend);
    ~HumanMonitor();
    HumanMonitor(const HumanMonitor&) = delete;
    HumanMonitor& operator=(const HumanMonitor&) = delete;

    // Where several share a terminal: it is the monitor's turn. Says who is there, the first time, and shows the
    // prompt. Any thread.
    void greet();

  private:
    void welcome();
    void receive(std::span<const u8> bytes);
    void key(u8 c);
    void replace_line(std::string text);
    void complete();
    void print(std::string_view text); // Line ends become CR LF.
    void prompt() { print("(calque) "); }

    devices::CharBackend& backend_;
    Commands commands_;
    std::atomic<bool> greeted_{false};
    std::mutex output_; // Command results come from the machine's thread, echo from the backend's.
    std::string line_;
    std::vector<std::string> history_;
    std::size_t history_at_ = 0;
    unsigned escape_ = 0; // Bytes of an escape sequence seen.
};

} // namespace calque::monitor
