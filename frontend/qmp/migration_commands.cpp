// Sending the machine to another process, and receiving one.
#include "frontend/qmp/commands.h"

#include <algorithm>
#include <array>

namespace calque::qmp {

namespace {

using machine::Migration;

Answer migrate(Control& control, const Arguments& arguments) {
    for (const char* name : {"blk", "inc"})
        if (arguments.flag(name)) return error("disks are not copied with the machine; both sides need to reach them");
    if (arguments.flag("resume")) return error("a migration that failed begins anew: leave out resume");
    return control.machine.migration().start(arguments.text("uri"));
}

Answer migrate_incoming(Control& control, const Arguments& arguments) {
    return control.machine.migration().start_incoming(arguments.text("uri"));
}

Answer migrate_cancel(Control& control, const Arguments&) {
    control.machine.migration().cancel();
    return {};
}

Answer query_migrate(Control& control, const Arguments&) {
    const Migration::Info info = control.machine.migration().info();
    Object answer;
    if (info.status == Migration::Status::none) return answer;
    answer.add("status", name_of(info.status));
    if (!info.problem.empty()) answer.add("error-desc", info.problem);
    if (info.incoming) return answer;
    answer.add("total-time", info.total_time).add("setup-time", info.setup_time);
    if (info.status == Migration::Status::completed) answer.add("downtime", info.downtime);
    answer.add("ram", Object{{"transferred", info.sent},
                             {"remaining", info.remaining},
                             {"total", info.total},
                             {"duplicate", 0},
                             {"skipped", 0},
                             {"normal", info.sent / page_size},
                             {"normal-bytes", info.sent},
                             {"dirty-pages-rate", 0},
                             {"mbps", info.total_time == 0 ? 0 : info.sent * 8 / 1000 / info.total_time},
                             {"dirty-sync-count", info.passes},
                             {"page-size", page_size}});
    return answer;
}

Answer query_migrate_capabilities(Control& control, const Arguments&) {
    return Json::Array{Object{{"capability", "events"}, {"state", control.migration_events}}};
}

Answer migrate_set_capabilities(Control& control, const Arguments& arguments) {
    for (const Json& item : arguments.list("capabilities"))
        control.migration_events = Arguments(item).flag("state"); // The schema knows no other.
    return {};
}

Answer query_migrate_parameters(Control& control, const Arguments&) {
    const auto parameters = control.machine.migration().parameters();
    return Object{{"max-bandwidth", parameters.max_bandwidth}, {"downtime-limit", parameters.downtime_limit}};
}

Answer migrate_set_parameters(Control& control, const Arguments& arguments) {
    auto parameters = control.machine.migration().parameters();
    const i64 bandwidth = arguments.number("max-bandwidth", static_cast<i64>(parameters.max_bandwidth));
    const i64 downtime = arguments.number("downtime-limit", static_cast<i64>(parameters.downtime_limit));
    constexpr i64 longest = 2'000'000; // As QEMU has it: milliseconds.
    if (bandwidth < 0) return error("max-bandwidth is bytes a second, 0 for no bound");
    if (downtime < 0 || downtime > longest) return error("downtime-limit is 0 to {} milliseconds", longest);
    parameters.max_bandwidth = static_cast<u64>(bandwidth);
    parameters.downtime_limit = static_cast<u64>(downtime);
    control.machine.migration().set_parameters(parameters);
    return {};
}

Answer getfd(Control& control, const Arguments& arguments) {
    backends::UniqueFd fd = control.take_descriptor ? control.take_descriptor() : backends::UniqueFd();
    if (!fd) return error("no descriptor came with the command; it goes as SCM_RIGHTS on a Unix socket");
    control.machine.migration().keep_descriptor(arguments.text("fdname"), std::move(fd));
    return {};
}

Answer closefd(Control& control, const Arguments& arguments) {
    return control.machine.migration().close_descriptor(arguments.text("fdname"));
}

constexpr std::array commands{
    Command{"migrate", "uri: str, detach?: bool, blk?: bool, inc?: bool, resume?: bool", "", migrate},
    Command{"migrate-incoming", "uri: str", "", migrate_incoming},
    Command{"migrate_cancel", "", "", migrate_cancel},
    Command{"query-migrate", "", "MigrationInfo", query_migrate},
    Command{"query-migrate-capabilities", "", "[MigrationCapabilityStatus]", query_migrate_capabilities},
    Command{"migrate-set-capabilities", "capabilities: [MigrationCapabilityStatus]", "", migrate_set_capabilities},
    Command{"query-migrate-parameters", "", "MigrationParameters", query_migrate_parameters},
    Command{"migrate-set-parameters", "max-bandwidth?: int, downtime-limit?: int", "", migrate_set_parameters},
    Command{"getfd", "fdname: str", "", getfd},
    Command{"closefd", "fdname: str", "", closefd},
};

} // namespace

std::span<const Command> migration_commands() { return commands; }

} // namespace calque::qmp
