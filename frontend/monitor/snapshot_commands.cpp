// savevm, loadvm, delvm, info snapshots. Errors begin as clients look for them.
#include "frontend/monitor/commands.h"

#include <ctime>

namespace calque::monitor {

namespace {

// A name may stand in quotes, with backslashes before quotes in it.
std::string unquoted(const std::string& text) {
    if (text.size() < 2 || text.front() != '"' || text.back() != '"') return text;
    std::string name;
    for (std::size_t i = 1; i + 1 < text.size(); ++i) {
        if (text[i] == '\\' && i + 2 < text.size()) ++i;
        name += text[i];
    }
    return name;
}

std::string host_time(const char* format, std::time_t seconds) {
    std::tm local{};
    ::localtime_r(&seconds, &local);
    char text[64];
    return std::string(text, std::strftime(text, sizeof text, format, &local));
}

std::string guest_time(u64 nanoseconds) {
    const u64 milliseconds = nanoseconds / 1'000'000, seconds = milliseconds / 1000;
    return fmt::format("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60, milliseconds % 1000);
}

std::string human_size(u64 bytes) {
    constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double amount = static_cast<double>(bytes);
    std::size_t unit = 0;
    for (; amount >= 1000 && unit + 1 < std::size(units); ++unit)
        amount /= 1024;
    return fmt::format("{:.3g} {}", amount, units[unit]);
}

std::string describe(const std::vector<machine::Snapshots::Entry>& list) {
    if (list.empty()) return "There is no snapshot available.\n";
    std::string text = fmt::format("List of snapshots present on all disks:\n{:<10}{:<17}{:>10}{:>20}{:>16}\n", "ID",
                                   "TAG", "VM SIZE", "DATE", "VM CLOCK");
    std::string partial;
    for (const auto& [snapshot, disk, on_all] : list) {
        const std::string line =
            fmt::format("{:<10}{:<16} {:>10}{:>20}{:>16}\n", on_all ? "--" : snapshot.id, snapshot.name,
                        human_size(snapshot.machine_bytes), host_time("%Y-%m-%d %H:%M:%S", snapshot.seconds),
                        guest_time(snapshot.guest_nanoseconds));
        on_all ? text += line : partial += fmt::format("{}: {}", disk, line);
    }
    if (!partial.empty()) text += "\nSnapshots that some disks lack:\n" + partial;
    return text;
}

} // namespace

void Commands::say(const Result<void>& result) {
    if (!result) output_.print(fmt::format("Error: {}\n", result.error().message));
    output_.done();
}

bool Commands::snapshot(const std::string& command, const std::string& argument) {
    const std::string name = unquoted(argument);
    auto& snapshots = machine_.snapshots();
    if (command == "info snapshots") {
        machine_.post([this, &snapshots] {
            const auto list = snapshots.list();
            output_.print(list ? describe(*list) : fmt::format("Error: {}\n", list.error().message));
            output_.done();
        });
    } else if (command == "savevm") {
        machine_.post([this, &snapshots, name] {
            machine::Snapshots::Places places;
            places.replace = true;
            const std::string named = name.empty() ? host_time("vm-%Y%m%d%H%M%S", std::time(nullptr)) : name;
            auto begun = snapshots.save(named, places, [this](const auto& result) { say(result); });
            if (!begun) say(begun);
        });
    } else if (command == "loadvm" || command == "delvm") {
        if (name.empty()) {
            say(error("{} needs the name of a snapshot; 'info snapshots' lists them", command));
        } else if (command == "loadvm") {
            machine_.request_stopped([this, &snapshots, name] { say(snapshots.load(name, {})); });
        } else {
            machine_.post([this, &snapshots, name] { say(snapshots.remove(name, {})); });
        }
    } else {
        return false;
    }
    return true;
}

} // namespace calque::monitor
