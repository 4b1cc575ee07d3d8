#include "frontend/qmp/commands.h"

#include <algorithm>

namespace calque::qmp {

Protocol::Protocol() {
    for (const auto& group :
         {protocol_commands(), run_commands(), guest_commands(), input_commands(), memory_commands(), device_commands(),
          block_commands(), hotplug_commands(), snapshot_commands(), migration_commands(), vnc_commands()})
        for (const Command& command : group)
            commands_.push_back(&command);
    std::sort(commands_.begin(), commands_.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
    std::vector<MessageText> texts;
    for (const Command* command : commands_)
        texts.push_back({command->name, command->arguments, command->returns});
    schema_ = std::make_unique<const Schema>(protocol_types(), texts, event_texts());
}

const Command* Protocol::find(std::string_view name) const {
    const auto found = std::lower_bound(commands_.begin(), commands_.end(), name,
                                        [](const Command* command, std::string_view n) { return command->name < n; });
    return found != commands_.end() && (*found)->name == name ? *found : nullptr;
}

} // namespace calque::qmp
