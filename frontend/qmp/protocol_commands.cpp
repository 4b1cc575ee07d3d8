// Commands about the protocol itself, and the program.
#include "frontend/qmp/commands.h"

#include <array>

namespace calque::qmp {

namespace {

Answer query_commands(Control& control, const Arguments&) {
    Json::Array all;
    for (const Command* command : control.protocol.commands())
        all.push_back(Object{{"name", command->name}});
    return all;
}

Answer query_command_line_options(Control& control, const Arguments& arguments) {
    Json::Array all;
    for (const auto& option : control.surroundings.command_line) {
        if (arguments.has("option") && arguments.text("option") != option.name) continue;
        Json::Array parameters;
        for (const auto& parameter : option.parameters)
            parameters.push_back(Object{{"name", parameter}, {"type", "string"}});
        all.push_back(Object{{"option", option.name}, {"parameters", parameters}});
    }
    if (all.empty() && arguments.has("option"))
        return Failure{ErrorClass::generic, fmt::format("there is no option -{}", arguments.text("option"))};
    return all;
}

constexpr std::array commands{
    // Sessions act on it themselves.
    Command{"qmp_capabilities", "enable?: [QMPCapability]", "", [](Control&, const Arguments&) { return Answer(); }},
    Command{"query-version", "", "VersionInfo", [](Control&, const Arguments&) -> Answer { return version(); }},
    Command{"query-commands", "", "[CommandInfo]", query_commands},
    Command{"query-qmp-schema", "", "[any]",
            [](Control& control, const Arguments&) -> Answer { return control.protocol.schema().describe(); }},
    Command{"query-command-line-options", "option?: str", "[CommandLineOptionInfo]", query_command_line_options},
};

} // namespace

// Clients look at what QEMU's version could do; this is the one whose ways ours are nearest to. The package says who we
// are.
Json version() {
    return Object{{"qemu", Object{{"major", 7}, {"minor", 2}, {"micro", 0}}}, {"package", "Calque 0.1.0"}};
}

std::span<const Command> protocol_commands() { return commands; }

} // namespace calque::qmp
