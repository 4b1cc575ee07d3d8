// migrate and what belongs to it.
#include "frontend/monitor/commands.h"

#include <charconv>

namespace calque::monitor {

namespace {

std::string describe(const machine::Migration::Info& info) {
    if (info.status == machine::Migration::Status::none) return "There was no migration.\n";
    std::string text =
        fmt::format("Migration status: {}{}{}\n", name_of(info.status), info.problem.empty() ? "" : ": ", info.problem);
    if (info.incoming) return text;
    text += fmt::format("total time: {} ms\n", info.total_time);
    if (info.status == machine::Migration::Status::completed) text += fmt::format("downtime: {} ms\n", info.downtime);
    return text
           + fmt::format("transferred ram: {} kbytes\nremaining ram: {} kbytes\ntotal ram: {} kbytes\n"
                         "dirty sync count: {}\n",
                         info.sent >> 10, info.remaining >> 10, info.total >> 10, info.passes);
}

Result<void> set_parameter(machine::Migration& migration, const std::string& argument) {
    auto parameters = migration.parameters();
    const std::size_t space = argument.find(' ');
    const std::string name = argument.substr(0, space);
    const std::string text = space == argument.npos ? "" : argument.substr(argument.find_first_not_of(' ', space));
    u64 value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || problem != std::errc() || end != text.data() + text.size()
        || (name != "max-bandwidth" && name != "downtime-limit"))
        return error(
            "migrate_set_parameter takes max-bandwidth and bytes a second, or downtime-limit and milliseconds");
    (name == "max-bandwidth" ? parameters.max_bandwidth : parameters.downtime_limit) = value;
    migration.set_parameters(parameters);
    return {};
}

} // namespace

bool Commands::migration(const std::string& command, const std::string& argument) {
    auto& migration = machine_.migration();
    if (command == "info migrate") {
        output_.print(describe(migration.info()));
        output_.done();
    } else if (command == "migrate_cancel") {
        migration.cancel();
        output_.done();
    } else if (command == "migrate_set_parameter") {
        say(set_parameter(migration, argument));
    } else if (command == "migrate_incoming") {
        machine_.post([this, &migration, argument] { say(migration.start_incoming(argument)); });
    } else if (command == "migrate") {
        const bool detached = argument.starts_with("-d ");
        const std::string uri = detached ? argument.substr(argument.find_first_not_of(' ', 2)) : argument;
        machine_.post([this, &migration, uri, detached] {
            const auto ended = [this, detached](const Result<void>& result) {
                if (!detached) say(result);
            };
            const auto started = migration.start(uri, ended);
            if (!started || detached) say(started);
        });
    } else {
        return false;
    }
    return true;
}

} // namespace calque::monitor
