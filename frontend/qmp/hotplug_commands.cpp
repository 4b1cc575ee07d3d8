// Devices, drives and networks that come and go while the machine runs.
#include "frontend/qmp/commands.h"

#include <algorithm>
#include <array>

namespace calque::qmp {

namespace {

// A value as the command line has it.
Result<std::string> text_of(std::string_view name, const Json& value) {
    if (const auto* text = value.string()) return *text;
    if (const auto* flag = value.get_if<bool>()) return std::string(*flag ? "on" : "off");
    if (const auto* number = value.get_if<i64>()) return std::to_string(*number);
    return error("'{}' is neither a text nor a number nor true or false", name);
}

// --- Devices

Answer device_add(Control& control, const Arguments& arguments) {
    machine::DeviceRequest request{arguments.text("driver"), arguments.text("id"), {}};
    for (const auto& [name, value] : *arguments.json().object()) {
        if (name == "driver" || name == "id") continue;
        auto text = text_of(name, value);
        if (!text) return text.error();
        request.properties.push_back({name, std::move(*text)});
    }
    const auto outcome = std::make_shared<Answer>();
    control.machine.hotplug().add(std::move(request), [outcome](const Result<void>& added) { *outcome = added; });
    return Answer::Later([outcome] { return outcome->take(); });
}

Answer device_del(Control& control, const Arguments& arguments) {
    const std::string id = arguments.text("id");
    if (!control.machine.chipset().find(id))
        return Failure{ErrorClass::device_not_found, fmt::format("there is no device '{}'", id)};
    const auto outcome = std::make_shared<Answer>();
    control.machine.hotplug().remove(id, arguments.flag("force"),
                                     [outcome](const Result<void>& removed) { *outcome = removed; });
    return Answer::Later([outcome] { return outcome->take(); });
}

// --- Drives

Answer blockdev_add(Control& control, const Arguments& arguments) {
    return control.machine.hotplug().add_node(arguments.json());
}

Answer blockdev_del(Control& control, const Arguments& arguments) {
    return control.machine.hotplug().remove_node(arguments.text("node-name"));
}

// --- Networks

// A list is the same word several times: [{"str": "tcp::2222-:22"}].
Result<void> add_words(std::vector<std::pair<std::string, std::string>>& words, const std::string& name,
                       const Json& value) {
    const auto* const list = value.get_if<Json::Array>();
    if (!list) {
        auto text = text_of(name, value);
        if (!text) return text.error();
        words.emplace_back(name, std::move(*text));
        return {};
    }
    for (const Json& item : *list) {
        const Json* const inner = item.find("str");
        if (inner && inner->get_if<Json::Array>()) return error("'{}' has a list in a list", name);
        if (auto added = add_words(words, name, inner ? *inner : item); !added) return added;
    }
    return {};
}

Answer netdev_add(Control& control, const Arguments& arguments) {
    std::vector<std::pair<std::string, std::string>> words;
    for (const auto& [name, value] : *arguments.json().object())
        if (name != "type")
            if (auto added = add_words(words, name, value); !added) return added;
    const auto options = backends::parse_net(arguments.text("type"), words);
    if (!options) return error("{}: {}", arguments.text("type"), options.error().message);
    return control.machine.hotplug().add_network(*options);
}

Answer netdev_del(Control& control, const Arguments& arguments) {
    return control.machine.hotplug().remove_network(arguments.text("id"));
}

constexpr std::array commands{
    Command{"device_add", "driver: str, bus?: str, id?: str, ...", "", device_add},
    Command{"device_del", "id: str, force?: bool", "", device_del},
    Command{"blockdev-add", "driver: str, node-name: str, ...", "", blockdev_add},
    Command{"blockdev-del", "node-name: str", "", blockdev_del},
    Command{"netdev_add", "type: str, id: str, ...", "", netdev_add},
    Command{"netdev_del", "id: str", "", netdev_del},
};

} // namespace

std::span<const Command> hotplug_commands() { return commands; }

} // namespace calque::qmp
