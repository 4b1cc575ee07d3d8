#include "frontend/machine/hotplug.h"

#include "frontend/machine/background.h"
#include "frontend/machine/machine.h"

#include <algorithm>
#include <cstring>

namespace calque::machine {

Hotplug::Hotplug(Machine& machine, Background& background, Notify notify)
    : machine_(machine), background_(background), notify_(std::move(notify)) {}

// What is being saved or sent is the machine with the devices that it has.
Result<void> Hotplug::can_change() const {
    const RunState state = machine_.state();
    if (state == RunState::in_migrate || state == RunState::finish_migrate || state == RunState::post_migrate)
        return error("nothing can be plugged in or out while the machine is not here (it is being sent or received)");
    return background_.idle();
}

// --- Devices in

void Hotplug::add(DeviceRequest request, Done done) {
    machine_.request_stopped([this, request = std::move(request), done = std::move(done)] { done(plug(request)); });
}

Result<void> Hotplug::plug(DeviceRequest request) {
    if (auto can = can_change(); !can) return can;
    if (auto good = check_device(request); !good) return good;
    const DeviceKind& kind = *find_device_kind(request.driver);
    if (hot_pluggable(kind)) {
        for (const auto& [key, what] : {std::pair{"drive", "drive"}, {"netdev", "network"}, {"fsdev", "folder"}})
            if (auto free = check_free(request, key, what); !free) return free;
        if (auto taken = take_drive(request); !taken) return taken;
        give_address(request);
    }
    auto plugged =
        machine_.chipset().hot_plug(request, machine_.log(), machine_.clock(), machine_.memory(), machine_.backends());
    if (!plugged) return plugged;
    machine_.watch_device(*machine_.chipset().inventory().back()->device);
    return {};
}

const Chipset::Plugged* Hotplug::user_of(std::string_view key, const std::string& value) const {
    for (const auto& other : machine_.chipset().inventory())
        if (!value.empty() && other->request.get(key) == value) return other.get();
    return nullptr;
}

Result<void> Hotplug::check_free(const DeviceRequest& request, std::string_view key, std::string_view what) const {
    const Chipset::Plugged* const user = user_of(key, request.get(key));
    if (!user && (key != "drive" || !built_in(request.get(key)))) return {};
    return error("-device {}: the {} {} is {}'s; each has one device", request.driver, what, request.get(key),
                 user ? user->name : "the board");
}

// On the board's own cables.
bool Hotplug::built_in(const std::string& drive) const {
    const ChipsetBackends& all = machine_.backends();
    const auto is = [&](const devices::BlockBackend* backend) {
        const auto* const disk = dynamic_cast<const backends::Disk*>(backend);
        return disk && disk->options().id == drive;
    };
    return std::any_of(all.ide.begin(), all.ide.end(), [&](const auto& place) { return is(place.backend); })
           || std::any_of(all.floppies.begin(), all.floppies.end(), is)
           || std::any_of(all.flash.begin(), all.flash.end(), is);
}

Result<void> Hotplug::take_drive(DeviceRequest& request) {
    if (request.get("drive").empty()) return {};
    const auto side = host();
    if (!side) return {}; // The drives are those that there are.
    const auto held = machine_.hold_backends();
    auto opened = (*side)->drive_for(request);
    machine_.backends().disks = (*side)->disks();
    if (!opened) return opened.error();
    if (opened->fresh) machine_.watch_disk(*opened->disk);
    return {};
}

// A card that is given no address gets the first that nobody has, counting as those of the command line do.
void Hotplug::give_address(DeviceRequest& request) const {
    if (!request.has("netdev") || request.has("mac")) return;
    for (unsigned number = 0x56; number < 0x100; ++number) {
        const std::string address = fmt::format("52:54:00:12:34:{:02x}", number);
        if (user_of("mac", address)) continue;
        request.properties.push_back({"mac", address});
        return;
    }
}

// --- Devices out

void Hotplug::remove(const std::string& id, bool force, Done done) {
    const Chipset::Plugged* const found = machine_.chipset().find(id);
    if (!found) return done(error("there is no device '{}'", id));
    if (auto can = can_change(); !can) return done(can);
    if (auto can = machine_.chipset().can_unplug(*found); !can) return done(can);
    if (found->root_slot && !force) {
        machine_.chipset().pci_hotplug().ask_back(*found->root_slot);
        return done({});
    }
    machine_.request_stopped([this, id, done = std::move(done)] {
        const Chipset::Plugged* const still = machine_.chipset().find(id);
        if (!still) return done(error("there is no device '{}'", id));
        if (still->root_slot)
            let_go(u32{1} << *still->root_slot);
        else
            unplug(std::string(still->name));
        done({});
    });
}

void Hotplug::let_go(u32 slots) {
    const auto& inventory = machine_.chipset().inventory();
    for (;;) {
        const auto next = std::find_if(inventory.begin(), inventory.end(), [&](const auto& entry) {
            return entry->root_slot && (slots >> *entry->root_slot & 1) && machine_.chipset().can_unplug(*entry);
        });
        if (next == inventory.end()) return;
        unplug(std::string((*next)->name));
    }
}

void Hotplug::finish_before_reset() { let_go(machine_.chipset().pci_hotplug().asked_back()); }

void Hotplug::unplug(const std::string& name) {
    for (const DeviceRequest& request : machine_.chipset().unplug(name)) {
        if (const std::string drive = request.get("drive"); !drive.empty()) release_drive(drive);
        const std::string path =
            request.id.empty() ? "/machine/peripheral-anon" : fmt::format("/machine/peripheral/{}", request.id);
        notify_(event::DeviceDeleted{request.id, path});
    }
}

// What the guest wrote is on the host's disk before anybody hears that the device is gone.
void Hotplug::release_drive(const std::string& id) {
    const auto& disks = machine_.disks();
    const auto found = std::find_if(disks.begin(), disks.end(), [&](auto* disk) { return disk->options().id == id; });
    if (found == disks.end()) return;
    backends::Disk& disk = **found;
    disk.set_medium_observer({});
    disk.lock_medium(false);
    disk.give_up_held();
    if (const int problem = disk.flush_now())
        fmt::print(stderr, "calque: the last flush of {} failed: {}\n", id, std::strerror(problem));
    const auto side = host();
    if (!side || !(*side)->goes_with_device(id) || !background_.idle()) return;
    const auto held = machine_.hold_backends();
    static_cast<void>((*side)->remove_drive(id));
    machine_.backends().disks = (*side)->disks();
}

// --- The host's side

Result<HostSide*> Hotplug::host() const {
    if (HostSide* const side = machine_.backends().host) return side;
    return error("nothing can be opened here while the machine runs");
}

Result<void> Hotplug::add_node(const Json& node) {
    if (auto can = can_change(); !can) return can;
    const auto side = host();
    if (!side) return side.error();
    const auto held = machine_.hold_backends();
    auto disk = (*side)->add_node(
        node, [this](const std::string& drive) { return user_of("drive", drive) || built_in(drive); });
    machine_.backends().disks = (*side)->disks();
    if (!disk) return disk.error();
    machine_.watch_disk(**disk);
    return {};
}

Result<void> Hotplug::remove_node(const std::string& name) {
    if (auto can = can_change(); !can) return can;
    const auto side = host();
    if (!side) return side.error();
    if (const auto* const user = user_of("drive", name))
        return error("the node '{}' is {}'s; take the device out first (device_del)", name, user->name);
    if (built_in(name)) return error("the node '{}' is on the board's own cables and stays there", name);
    const auto held = machine_.hold_backends();
    auto removed = (*side)->remove_node(name);
    machine_.backends().disks = (*side)->disks();
    return removed;
}

Result<void> Hotplug::add_drive(const std::string& text) {
    if (auto can = can_change(); !can) return can;
    const auto side = host();
    if (!side) return side.error();
    const auto held = machine_.hold_backends();
    auto disk = (*side)->add_drive(text);
    machine_.backends().disks = (*side)->disks();
    if (!disk) return disk.error();
    machine_.watch_disk(**disk);
    return {};
}

Result<void> Hotplug::remove_drive(const std::string& id) {
    if (auto can = can_change(); !can) return can;
    const auto side = host();
    if (!side) return side.error();
    if (const auto* const user = user_of("drive", id))
        return error("the drive '{}' is {}'s; take the device out first (device_del)", id, user->name);
    if (built_in(id)) return error("the drive '{}' is on the board's own cables and stays there", id);
    const auto held = machine_.hold_backends();
    auto removed = (*side)->remove_drive(id);
    machine_.backends().disks = (*side)->disks();
    return removed;
}

Result<void> Hotplug::add_network(const backends::NetOptions& options) {
    if (auto can = can_change(); !can) return can;
    const auto side = host();
    if (!side) return side.error();
    if (options.id.empty()) return error("a network needs an id");
    if (machine_.networks().contains(options.id)) return error("there is a network '{}' already", options.id);
    auto port = (*side)->add_network(options);
    if (!port) return port.error();
    const auto held = machine_.hold_backends();
    machine_.backends().nets[options.id] = *port;
    return {};
}

Result<void> Hotplug::remove_network(const std::string& id) {
    if (auto can = can_change(); !can) return can;
    const auto side = host();
    if (!side) return side.error();
    if (!machine_.networks().contains(id)) return error("there is no network '{}'", id);
    if (const auto* const user = user_of("netdev", id))
        return error("the network '{}' is {}'s; take the card out first (device_del)", id, user->name);
    {
        const auto held = machine_.hold_backends();
        machine_.backends().nets.erase(id);
    }
    (*side)->remove_network(id);
    return {};
}

Result<DeviceRequest> Hotplug::read_device(const std::string& text) {
    const auto side = host();
    if (!side) return side.error();
    return (*side)->read_device(text);
}

Result<backends::NetOptions> Hotplug::read_network(const std::string& text) {
    const auto side = host();
    if (!side) return side.error();
    return (*side)->read_network(text);
}

} // namespace calque::machine
