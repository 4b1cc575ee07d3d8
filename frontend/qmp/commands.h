// The one table of commands: what each is called, what it takes and gives, and who does it. The schema, query-commands
// and the check of arguments are made from it.
#pragma once

#include "frontend/backends/unique_fd.h"
#include "frontend/machine/machine.h"
#include "frontend/qmp/answer.h"
#include "frontend/qmp/arguments.h"
#include "frontend/qmp/held_keys.h"
#include "frontend/qmp/schema.h"

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace calque::qmp {

class Protocol;

// What commands are told of the program around the machine.
struct Surroundings {
    struct CharDevice {
        std::string label, filename;
        bool open;
    };
    std::function<std::vector<CharDevice>()> char_devices; // May be empty.
    struct CommandLineOption {
        std::string name;
        std::vector<std::string> parameters;
    };
    std::vector<CommandLineOption> command_line;
    bool nothing_to_run = false; // -machine none
};

// What a command works on.
struct Control {
    machine::Machine& machine;
    const Protocol& protocol;
    const Surroundings& surroundings;
    bool migration_events = false; // Clients are told of each step of a migration.
    // The oldest descriptor that the client who asks has sent along; may be empty.
    std::function<backends::UniqueFd()> take_descriptor{};
    HeldKeys held_keys{machine.clock(), machine.chipset().inputs()};
    struct {
        u32 x = 0, y = 0;
    } place{}; // Of the pointer: an event says one of the two.
};

struct Command {
    std::string_view name;
    std::string_view arguments; // As Schema reads them.
    std::string_view returns;
    // On the thread that serves the machine's requests, or the caller's in tests. What it requests of the machine is
    // done before the answer goes.
    Answer (*run)(Control&, const Arguments&);
    bool answer_first = false; // There will be nobody to answer afterwards.
};

// Each group is a file.
std::span<const Command> protocol_commands();
std::span<const Command> run_commands();
std::span<const Command> guest_commands();
std::span<const Command> input_commands();
std::span<const Command> memory_commands();
std::span<const Command> device_commands();
std::span<const Command> block_commands();
std::span<const Command> hotplug_commands();
std::span<const Command> snapshot_commands();
std::span<const Command> migration_commands();
std::span<const Command> vnc_commands();

std::span<const TypeText> protocol_types();
std::span<const MessageText> event_texts();

// All of it together. Immutable, for any thread.
class Protocol {
  public:
    Protocol();
    // Null when there is none of that name.
    const Command* find(std::string_view name) const;
    const std::vector<const Command*>& commands() const { return commands_; } // By name.
    const Schema& schema() const { return *schema_; }

  private:
    std::vector<const Command*> commands_;
    std::unique_ptr<const Schema> schema_;
};

Json version();

} // namespace calque::qmp
