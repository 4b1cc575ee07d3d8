#include "frontend/machine/kinds/kinds.h"

#include "frontend/machine/kinds/usb.h"

#include <algorithm>

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;

constexpr std::array pci_properties{
    PropertyKind{"addr", Type::slot, "slot and function, such as 4 or 4.1 (the first free one)"},
    PropertyKind{"bus", Type::text, "pci.0, or the id of a -device pci-bridge before it (pci.0)"},
    PropertyKind{"romfile", Type::text, "a file with its option ROM, empty for none (its own, where it has one)"},
};

Error unknown_device(std::string_view name) {
    std::vector<std::string_view> names;
    for (const DeviceKind* kind : device_kinds())
        names.push_back(kind->name);
    const std::string near = nearest_name(name, names);
    if (!near.empty()) return error("-device '{}' does not exist here; there is {} (see -device help)", name, near);
    return error("-device '{}' does not exist here; -device help lists what there is", name);
}

} // namespace

std::vector<const DeviceKind*> device_kinds() {
    std::vector<const DeviceKind*> kinds;
    for (const auto& family : {bridge_kinds(), disk_kinds(), display_kinds(), isa_kinds(), net_kinds(), virtio_kinds(),
                               virtio_serial_kinds(), virtio_host_kinds(), virtio_input_kinds(), usb_kinds()})
        for (const DeviceKind& kind : family)
            kinds.push_back(&kind);
    return kinds;
}

std::span<const PropertyKind> common_properties(const DeviceKind& kind) {
    return kind.bus == "PCI" ? std::span<const PropertyKind>(pci_properties) : std::span<const PropertyKind>();
}

const DeviceKind* find_device_kind(std::string_view name) {
    const auto kinds = device_kinds();
    const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto* kind) { return kind->name == name; });
    return found == kinds.end() ? nullptr : *found;
}

// Windows look at screens for as long as the machine runs, and a bridge's windows are sized by firmware.
bool hot_pluggable(const DeviceKind& kind) {
    const auto in = [&](std::span<const DeviceKind> family) {
        return std::any_of(family.begin(), family.end(), [&](const DeviceKind& other) { return &other == &kind; });
    };
    return kind.make && (kind.bus == "PCI" || kind.bus == "USB") && !in(display_kinds()) && !in(bridge_kinds());
}

Result<void> check_device(const DeviceRequest& request) {
    const DeviceKind* kind = find_device_kind(request.driver);
    if (!kind) return unknown_device(request.driver);
    if (auto good = check_properties(request, kind->properties, common_properties(*kind)); !good)
        return error("-device {}", good.error().message);
    return {};
}

std::string device_help() {
    std::string text;
    for (const DeviceKind* kind : device_kinds())
        text += fmt::format("name \"{}\", bus {}: {}\n", kind->name, kind->bus, kind->summary);
    return text + "-device NAME,help lists the properties of one.\n";
}

Result<std::string> device_help(std::string_view name) {
    const DeviceKind* kind = find_device_kind(name);
    if (!kind) return unknown_device(name);
    std::string text = fmt::format("{}: {}\n  {:<20} its name\n", kind->name, kind->summary, "id");
    for (const auto& list : {kind->properties, common_properties(*kind)})
        for (const PropertyKind& property : list)
            text += fmt::format("  {:<20} {}\n", property.name, property.help);
    return text;
}

} // namespace calque::machine
