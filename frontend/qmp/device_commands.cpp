// Devices: what there is, what kinds there are, and what can be changed while the machine runs.
#include "frontend/monitor/device_commands.h"

#include "frontend/machine/kinds/kinds.h"
#include "frontend/qmp/commands.h"

#include <algorithm>
#include <array>

namespace calque::qmp {

namespace {

namespace pci = devices::pci;

// --- PCI

Json::Array regions_of(const devices::PciFunction& function) {
    Json::Array regions;
    const auto& bars = function.descriptor().bars;
    for (unsigned i = 0; i < bars.size(); ++i) {
        if (bars[i].kind == devices::PciBar::Kind::none) continue;
        const bool io = bars[i].kind == devices::PciBar::Kind::io;
        Object region{{"bar", i},
                      {"type", io ? "io" : "memory"},
                      {"address", function.bar_base(i).value_or(~u64{0})}, // -1: not decoded.
                      {"size", bars[i].size}};
        if (!io)
            region.add("prefetch", bars[i].prefetchable)
                .add("mem_type_64", bars[i].kind == devices::PciBar::Kind::memory64);
        regions.push_back(region);
    }
    return regions;
}

Json::Array devices_of(const devices::PciBus& bus, unsigned number) {
    Json::Array all;
    for (const auto& slot : bus.slots()) {
        const auto& d = slot.pci->descriptor();
        Object device{{"bus", number},
                      {"slot", slot.device},
                      {"function", slot.function},
                      {"class_info", Object{{"class", d.class_code >> 8}, {"desc", d.name}}},
                      {"id", Object{{"device", d.device_id}, {"vendor", d.vendor_id}}},
                      {"irq_pin", d.interrupt_pin},
                      {"qdev_id", d.name},
                      {"regions", regions_of(*slot.pci)}};
        if (d.interrupt_pin) device.add("irq", slot.pci->get(pci::INTERRUPT_LINE, 1));
        if (const auto* behind = devices::PciBus::behind(*slot.pci)) {
            const unsigned secondary = slot.pci->get(pci::SECONDARY_BUS, 1);
            device.add("pci_bridge", Object{{"bus", Object{{"number", number},
                                                           {"secondary", secondary},
                                                           {"subordinate", slot.pci->get(pci::SUBORDINATE_BUS, 1)}}},
                                            {"devices", devices_of(*behind, secondary)}});
        }
        all.push_back(device);
    }
    return all;
}

Answer query_pci(Control& control, const Arguments&) {
    return Json::Array{Object{{"bus", 0}, {"devices", devices_of(control.machine.chipset().pci(), 0)}}};
}

// --- Kinds and their properties

std::string_view type_of(machine::PropertyKind::Type type) {
    using Type = machine::PropertyKind::Type;
    switch (type) {
    case Type::boolean: return "bool";
    case Type::number:
    case Type::vectors: return "uint32";
    case Type::size: return "size";
    default: return "str";
    }
}

Answer qom_list_types(Control&, const Arguments& arguments) {
    Json::Array all;
    const std::string implements = arguments.text("implements", "object");
    const auto add = [&](std::string_view name, std::string_view parent) {
        if (implements == parent || implements == "object") all.push_back(Object{{"name", name}, {"parent", parent}});
    };
    for (const machine::DeviceKind* kind : machine::device_kinds())
        add(kind->name, "device");
    add("tcg-accel", "accel"); // As -accel has it.
    return all;
}

Answer device_list_properties(Control&, const Arguments& arguments) {
    const machine::DeviceKind* kind = machine::find_device_kind(arguments.text("typename"));
    if (!kind)
        return Failure{
            ErrorClass::device_not_found,
            fmt::format("there is no kind of device '{}'; qom-list-types lists them", arguments.text("typename"))};
    Json::Array all;
    for (const auto& list : {kind->properties, machine::common_properties(*kind)})
        for (const machine::PropertyKind& property : list)
            all.push_back(
                Object{{"name", property.name}, {"type", type_of(property.type)}, {"description", property.help}});
    return all;
}

// A type that there is not has no properties: libvirt 9 ends itself when it is told of an error here.
Answer qom_list_properties(Control& control, const Arguments& arguments) {
    if (!machine::find_device_kind(arguments.text("typename"))) return Json::Array{};
    return device_list_properties(control, arguments);
}

// --- The tree of devices: /machine/peripheral/ID for those of -device, /machine/unattached/device[N] for processors.

struct NodeProperty {
    std::string name;
    Json value;
    std::string_view type = "string";
};
struct Node {
    std::vector<std::pair<std::string, std::string>> children; // Name and type.
    std::vector<NodeProperty> properties;
};

// As its kind says the property is: libvirt takes no number that is a string.
NodeProperty property_of(const machine::DeviceRequest& device, const machine::Property& given) {
    using Type = machine::PropertyKind::Type;
    const machine::DeviceKind* const kind = machine::find_device_kind(device.driver);
    if (!kind) return {given.key, Json(given.value)};
    for (const machine::PropertyKind& property : kind->properties) {
        if (property.name != given.key) continue;
        const std::string_view type = type_of(property.type);
        if (property.type == Type::boolean) return {given.key, Json(device.get_bool(given.key, false)), type};
        if (property.type == Type::number || property.type == Type::size)
            return {given.key, Json(static_cast<i64>(device.get_number(given.key, 0))), type};
    }
    return {given.key, Json(given.value)};
}

std::optional<Node> node_at(Control& control, std::string path) {
    while (path.size() > 1 && path.ends_with('/'))
        path.pop_back();
    const auto of_type = [](std::string type) { return NodeProperty{"type", Json(std::move(type))}; };
    if (path == "/") return Node{{{"machine", "child<pc-machine>"}}, {of_type("container")}};
    if (path == "/machine")
        return Node{{{"peripheral", "child<container>"}, {"unattached", "child<container>"}}, {of_type("pc-machine")}};
    Node peripheral{{}, {of_type("container")}}, unattached = peripheral;
    for (const auto& entry : control.machine.chipset().inventory()) {
        const machine::DeviceRequest& device = entry->request;
        if (device.id.empty()) continue;
        peripheral.children.emplace_back(device.id, fmt::format("child<{}>", device.driver));
        if (path != "/machine/peripheral/" + device.id) continue;
        Node node{{}, {of_type(device.driver)}};
        for (const auto& property : device.properties)
            node.properties.push_back(property_of(device, property));
        return node;
    }
    for (std::size_t i = 0; i < control.machine.vcpus().size(); ++i) {
        const std::string name = fmt::format("device[{}]", i), type = control.machine.config().cpu.name + "-x86_64-cpu";
        unattached.children.emplace_back(name, fmt::format("child<{}>", type));
        if (path == "/machine/unattached/" + name) return Node{{}, {of_type(type)}};
    }
    if (path == "/machine/peripheral") return peripheral;
    if (path == "/machine/unattached") return unattached;
    return std::nullopt;
}

Answer no_node(const std::string& path) {
    return Failure{ErrorClass::device_not_found, fmt::format("there is nothing at '{}'", path)};
}

Answer qom_list(Control& control, const Arguments& arguments) {
    const auto node = node_at(control, arguments.text("path"));
    if (!node) return no_node(arguments.text("path"));
    Json::Array all;
    for (const NodeProperty& property : node->properties)
        all.push_back(Object{{"name", property.name}, {"type", property.type}});
    for (const auto& [name, type] : node->children)
        all.push_back(Object{{"name", name}, {"type", type}});
    return all;
}

Answer qom_get(Control& control, const Arguments& arguments) {
    const auto node = node_at(control, arguments.text("path"));
    if (!node) return no_node(arguments.text("path"));
    for (const NodeProperty& property : node->properties)
        if (property.name == arguments.text("property")) return property.value;
    return error("'{}' has no property '{}'", arguments.text("path"), arguments.text("property"));
}

// --- What can be changed

// What the monitor's command has to say is what went wrong.
Answer outcome(std::string said, ErrorClass error_class) {
    while (!said.empty() && said.back() == '\n')
        said.pop_back();
    if (said.empty()) return {};
    return Failure{error_class, said};
}

Answer set_link(Control& control, const Arguments& arguments) {
    const std::string text = fmt::format("{} {}", arguments.text("name"), arguments.flag("up") ? "on" : "off");
    return outcome(monitor::set_link(control.machine, text), ErrorClass::device_not_found);
}

Answer balloon(Control& control, const Arguments& arguments) {
    const u64 megabytes = static_cast<u64>(arguments.number("value")) >> 20;
    if (megabytes == 0) return error("the guest keeps at least a megabyte (1048576)");
    return outcome(monitor::set_balloon(control.machine, std::to_string(megabytes)), ErrorClass::device_not_active);
}

Answer query_balloon(Control& control, const Arguments&) {
    const auto actual = monitor::balloon_actual(control.machine);
    if (!actual)
        return Failure{ErrorClass::device_not_active, "there is no balloon; start with -device virtio-balloon-pci"};
    return Object{{"actual", *actual}};
}

Answer query_rx_filter(Control&, const Arguments& arguments) {
    if (arguments.has("name")) return error("'{}' does not tell which frames it takes", arguments.text("name"));
    return Json::Array{};
}

Answer query_chardev(Control& control, const Arguments&) {
    Json::Array all;
    if (!control.surroundings.char_devices) return all;
    for (const auto& device : control.surroundings.char_devices())
        all.push_back(Object{{"label", device.label}, {"filename", device.filename}, {"frontend-open", device.open}});
    return all;
}

constexpr std::array commands{
    Command{"query-pci", "", "[PciInfo]", query_pci},
    Command{"qom-list-types", "implements?: str, abstract?: bool", "[ObjectTypeInfo]", qom_list_types},
    Command{"device-list-properties", "typename: str", "[ObjectPropertyInfo]", device_list_properties},
    Command{"qom-list-properties", "typename: str", "[ObjectPropertyInfo]", qom_list_properties},
    Command{"qom-list", "path: str", "[ObjectPropertyInfo]", qom_list},
    Command{"qom-get", "path: str, property: str", "any", qom_get},
    Command{"set_link", "name: str, up: bool", "", set_link},
    Command{"balloon", "value: uint", "", balloon},
    Command{"query-balloon", "", "BalloonInfo", query_balloon},
    Command{"query-rx-filter", "name?: str", "[any]", query_rx_filter},
    Command{"query-chardev", "", "[ChardevInfo]", query_chardev},
};

} // namespace

std::span<const Command> device_commands() { return commands; }

} // namespace calque::qmp
