// The monitor's commands, by line, whoever sends them.
#pragma once

#include "devices/pci/pci_bus.h"
#include "frontend/machine/inspect.h"
#include "frontend/machine/machine.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace calque::monitor {

class Commands {
  public:
    // What a command says, and that it has said all; both on the caller's thread or on the one that serves the
    // machine's requests.
    struct Output {
        std::function<void(std::string_view)> print; // Lines end with LF.
        std::function<void()> done;
    };
    // The machine must outlive it, and it the commands.
    Commands(machine::Machine& machine, Output output) : machine_(machine), output_(std::move(output)) {}

    // Some commands are done only when the machine has served the requests that it has now.
    void execute(const std::string& line);
    // The commands that begin with what has been typed, in order.
    static std::vector<std::string> completions(std::string_view line);
    // Whose page tables x goes by.
    void set_cpu(unsigned index) { cpu_ = index; }

  private:
    void info(const std::string& what);
    void show_pci(const devices::PciBus& bus, unsigned number);
    void while_stopped(std::function<std::string(const cpu::Cpu&)> say);     // Of the processor that `cpu` chose.
    bool snapshot(const std::string& command, const std::string& argument);  // False: it is another command.
    bool migration(const std::string& command, const std::string& argument); // Likewise.
    bool hotplug(const std::string& command, const std::string& argument);
    void say(const Result<void>& result);
    void look(const std::string& argument, machine::AddressSpace space);
    std::string memory_map() const;
    std::string forward(const std::string& argument, bool add);
    std::string describe_disks() const;
    std::string change_medium(const std::string& command, std::string argument); // What there is to say.

    machine::Machine& machine_;
    const Output output_;
    unsigned cpu_ = 0;
};

} // namespace calque::monitor
