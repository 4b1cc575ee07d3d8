// The commands by which devices, drives and networks come and go.
#include "frontend/monitor/commands.h"

namespace calque::monitor {

namespace {

using Done = std::function<void(const Result<void>&)>;

void device_add(machine::Hotplug& hotplug, const std::string& argument, const Done& done) {
    auto request = hotplug.read_device(argument);
    if (!request) return done(request.error());
    hotplug.add(std::move(*request), done);
}

// [-f] ID
void device_del(machine::Hotplug& hotplug, const std::string& argument, const Done& done) {
    const bool force = argument.starts_with("-f ");
    hotplug.remove(argument.substr(force ? argument.find_first_not_of(' ', 2) : 0), force, done);
}

// QEMU's has a PCI slot before the options.
void drive_add(machine::Hotplug& hotplug, const std::string& argument, const Done& done) {
    const std::size_t space = argument.substr(0, argument.find('=')).rfind(' ');
    done(hotplug.add_drive(space == argument.npos ? argument : argument.substr(space + 1)));
}

void drive_del(machine::Hotplug& hotplug, const std::string& argument, const Done& done) {
    done(hotplug.remove_drive(argument));
}

void netdev_add(machine::Hotplug& hotplug, const std::string& argument, const Done& done) {
    const auto options = hotplug.read_network(argument);
    done(options ? hotplug.add_network(*options) : Result<void>(options.error()));
}

void netdev_del(machine::Hotplug& hotplug, const std::string& argument, const Done& done) {
    done(hotplug.remove_network(argument));
}

struct HotplugCommand {
    std::string_view name;
    void (*run)(machine::Hotplug&, const std::string&, const Done&);
    std::string_view takes;
};
constexpr std::array hotplug_commands{
    HotplugCommand{"device_add", device_add, "DRIVER,PROPERTY=VALUE,..., as -device does"},
    HotplugCommand{"device_del", device_del, "the id of a device"},
    HotplugCommand{"drive_add", drive_add, "0 if=none,id=ID,file=FILE, as -drive does"},
    HotplugCommand{"drive_del", drive_del, "the id of a drive"},
    HotplugCommand{"netdev_add", netdev_add, "KIND,id=ID,..., as -netdev does"},
    HotplugCommand{"netdev_del", netdev_del, "the id of a network"},
};

} // namespace

// In the turn of the machine's requests, whose thread alone changes what there is.
bool Commands::hotplug(const std::string& command, const std::string& argument) {
    for (const HotplugCommand& known : hotplug_commands) {
        if (known.name != command) continue;
        if (argument.empty()) {
            say(error("{} takes {}", known.name, known.takes));
            return true;
        }
        machine_.post([this, &known, argument] {
            known.run(machine_.hotplug(), argument, [this](const Result<void>& done) { say(done); });
        });
        return true;
    }
    return false;
}

} // namespace calque::monitor
