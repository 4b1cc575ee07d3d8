#include "frontend/cli/drives.h"

#include "frontend/cli/blockdev_options.h"
#include "frontend/cli/drive_options.h"

#include <algorithm>

namespace calque::cli {

using Interface = backends::DriveOptions::Interface;

namespace {

std::string text_of(const Json& node, std::string_view key) {
    const Json* const value = node.find(key);
    return value && value->string() ? *value->string() : std::string();
}

// The nodes that one names.
std::vector<std::string> named_by(const Json& node) {
    std::vector<std::string> names;
    for (const char* key : {"file", "backing"})
        if (std::string name = text_of(node, key); !name.empty()) names.push_back(std::move(name));
    return names;
}

} // namespace

Result<void> Drives::open(const Options& options) {
    snapshot_ = options.snapshot;
    for (const backends::DriveOptions& given : options.drives) {
        auto drive = std::make_unique<Drive>(Drive{given});
        drive->options.inactive = !options.machine.incoming.empty();
        if (auto opened = open(*drive); !opened) return opened;
        drives_.push_back(std::move(drive));
    }
    for (const Json& node : options.block_nodes) {
        const std::string name = text_of(node, "node-name");
        if (!at(name)) {
            drives_.push_back(std::make_unique<Drive>());
            drives_.back()->options.id = name;
            drives_.back()->options.interface = Interface::none;
        }
        at(name)->node = node;
    }
    for (const Json& node : options.block_nodes)
        for (const std::string& part : named_by(node))
            if (Drive* const drive = at(part)) drive->parent = text_of(node, "node-name");
    return {};
}

Drives::Drive* Drives::at(const std::string& id) const {
    const auto found =
        std::find_if(drives_.begin(), drives_.end(), [&](const auto& drive) { return drive->options.id == id; });
    return found == drives_.end() ? nullptr : found->get();
}

backends::Disk* Drives::find(const std::string& id) const {
    const Drive* const drive = at(id);
    return drive ? drive->disk.get() : nullptr;
}

std::vector<backends::Disk*> Drives::open_disks() const {
    std::vector<backends::Disk*> disks;
    for (const auto& drive : drives_)
        if (drive->disk) disks.push_back(drive->disk.get());
    return disks;
}

Result<void> Drives::open(Drive& drive) {
    auto disk = backends::open_drive(pool_, log_, drive.options);
    if (!disk) return disk.error();
    drive.disk = std::move(*disk);
    return {};
}

// --- Nodes

Result<std::vector<Drives::Drive*>> Drives::parts_of(const Json& node, const machine::HostSide::InUse& in_use) const {
    std::vector<Drive*> parts;
    for (const std::string& name : named_by(node)) {
        Drive* const part = at(name);
        if (!part || !part->node) return error("there is no node '{}'", name);
        if (!part->parent.empty()) return error("the node '{}' is part of '{}' already", name, part->parent);
        if (in_use(name)) return error("the node '{}' is a device's already", name);
        if (std::find(parts.begin(), parts.end(), part) != parts.end())
            return error("the node '{}' cannot be two parts of one", name);
        parts.push_back(part);
    }
    return parts;
}

void Drives::gather(const Drive& drive, std::vector<Json>& nodes) const {
    nodes.push_back(*drive.node);
    for (const std::string& name : named_by(*drive.node))
        if (const Drive* const part = at(name); part && part->node) gather(*part, nodes);
}

Result<void> Drives::settle(Drive& drive) const {
    std::vector<Json> nodes;
    gather(drive, nodes);
    std::vector<backends::DriveOptions> joined;
    if (auto good = join_blockdevs(nodes, joined); !good) return good;
    drive.options = std::move(joined.front());
    drive.options.snapshot = snapshot_;
    return {};
}

Result<backends::Disk*> Drives::add_node(const Json& node, const machine::HostSide::InUse& in_use) {
    const std::string name = text_of(node, "node-name");
    if (name.empty()) return error("a node needs a node-name, by which devices and other nodes find it");
    if (at(name)) return error("there is a node or drive '{}' already", name);
    const auto parts = parts_of(node, in_use);
    if (!parts) return parts.error();
    auto drive = std::make_unique<Drive>();
    drive->node = node;
    if (auto settled = settle(*drive); !settled) return settled.error();
    // A file is open once.
    std::vector<Drive*> closed;
    for (Drive* const part : *parts)
        if (part->disk) {
            part->disk.reset();
            closed.push_back(part);
        }
    if (auto opened = open(*drive); !opened) {
        for (Drive* const part : closed)
            static_cast<void>(open(*part)); // It could be opened before; else whoever uses it hears why not.
        return opened.error();
    }
    for (Drive* const part : *parts)
        part->parent = name;
    drives_.push_back(std::move(drive));
    return drives_.back()->disk.get();
}

Result<void> Drives::remove_node(const std::string& name) {
    const Drive* const drive = at(name);
    if (!drive || !drive->node) return error("there is no node '{}'", name);
    if (!drive->parent.empty()) return error("the node '{}' is part of '{}'; remove that first", name, drive->parent);
    for (const auto& part : drives_)
        if (part->parent == name) part->parent.clear();
    std::erase_if(drives_, [&](const auto& other) { return other.get() == drive; });
    return {};
}

// --- Drives

Result<backends::Disk*> Drives::add_drive(const std::string& text) {
    auto options = parse_drive(text);
    if (!options) return options.error();
    if (options->interface != Interface::none)
        return error("a drive that comes while the machine runs has if=none; device_add makes the device for it");
    if (options->id.empty()) return error("the drive needs an id=, by which a device finds it");
    if (at(options->id)) return error("there is a node or drive '{}' already", options->id);
    auto drive = std::make_unique<Drive>(Drive{std::move(*options)});
    drive->options.snapshot |= snapshot_;
    if (auto opened = open(*drive); !opened) return opened.error();
    drives_.push_back(std::move(drive));
    return drives_.back()->disk.get();
}

Result<void> Drives::remove_drive(const std::string& id) {
    const Drive* const drive = at(id);
    if (!drive) return error("there is no drive '{}'", id);
    if (drive->node) return error("'{}' is a node; blockdev-del removes it", id);
    std::erase_if(drives_, [&](const auto& other) { return other.get() == drive; });
    return {};
}

bool Drives::goes_with_device(const std::string& id) const {
    const Drive* const drive = at(id);
    return drive && !drive->node;
}

Result<machine::HostSide::Opened> Drives::drive_for(machine::DeviceRequest& request) {
    const std::string id = request.get("drive");
    Drive* const drive = at(id);
    if (!drive) return error("-device {}: there is no drive or node '{}'", request.driver, id);
    if (!drive->parent.empty())
        return error("-device {}: the node '{}' is part of '{}'; take that", request.driver, id, drive->parent);
    const std::size_t words = request.properties.size();
    if (!drive->disk && drive->node)
        if (auto settled = settle(*drive); !settled) return settled.error();
    std::vector<backends::DriveOptions> options{drive->options};
    std::vector<machine::DeviceRequest> requests{request};
    if (auto taken = take_drive_behaviour(options, requests); !taken) return taken.error();
    const bool changed = requests[0].properties.size() != words;
    if (drive->disk && !changed) return machine::HostSide::Opened{drive->disk.get(), false};
    const auto before = std::exchange(drive->options, std::move(options[0]));
    drive->options.inactive = false; // Who wrote to it before this machine came has gone.
    drive->disk.reset();
    if (auto opened = open(*drive); !opened) {
        drive->options = before;
        return opened.error();
    }
    request = std::move(requests[0]);
    return machine::HostSide::Opened{drive->disk.get(), true};
}

} // namespace calque::cli
