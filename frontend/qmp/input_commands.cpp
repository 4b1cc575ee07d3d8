// Keys, pointer, screen.
#include "frontend/monitor/screen.h"
#include "frontend/qmp/commands.h"
#include "frontend/qmp/held_keys.h"

#include <algorithm>
#include <array>

namespace calque::qmp {

namespace {

using devices::Key;

// By the code that a keyboard sends (set 1), of a key with the prefix E0 with bit 7 set.
Result<Key> key_of_number(i64 number) {
    for (std::size_t i = 0; i < devices::key_codes.size(); ++i) {
        const auto& codes = devices::key_codes[i];
        if ((devices::set2_to_set1(codes.set2) | (codes.extended ? 0x80 : 0)) == number) return static_cast<Key>(i);
    }
    return error("no key sends {:#x}", number);
}

// A KeyValue: {"type": "qcode"|"number", "data": ...}.
Result<Key> key_of(const Json& value) {
    const Json& data = *value.find("data");
    if (const i64* number = data.get_if<i64>()) return key_of_number(*number);
    const auto keys = monitor::parse_keys(*data.string());
    if (!keys) return keys.error();
    if (keys->size() != 1) return error("'{}' is not one key", *data.string());
    return keys->front();
}

Answer send_key(Control& control, const Arguments& arguments) {
    constexpr std::size_t most_keys = 16;
    constexpr i64 longest_hold = 60'000, default_hold = 100;
    std::vector<Key> keys;
    for (const Json& value : arguments.list("keys")) {
        const auto key = key_of(value);
        if (!key) return key.error();
        keys.push_back(*key);
    }
    if (keys.empty() || keys.size() > most_keys) return error("1 to {} keys at a time", most_keys);
    const i64 hold = arguments.number("hold-time", default_hold);
    if (hold > longest_hold) return error("hold-time is at most {} milliseconds", longest_hold);
    control.held_keys.press(std::move(keys), static_cast<u64>(hold));
    return {};
}

std::optional<devices::MouseButton> button_of(const std::string& name) {
    if (name == "left") return devices::MouseButton::left;
    if (name == "middle") return devices::MouseButton::middle;
    if (name == "right") return devices::MouseButton::right;
    if (name == "side") return devices::MouseButton::side;
    if (name == "extra") return devices::MouseButton::extra;
    return std::nullopt;
}

Answer input_send_event(Control& control, const Arguments& arguments) {
    if (arguments.has("device") || arguments.has("head"))
        return error("events go to the keyboard and pointer that are in use; leave device and head out");
    // All of them are looked at before the first is passed on.
    std::vector<std::function<void(machine::Inputs&)>> actions;
    i32 dx = 0, dy = 0;
    struct {
        std::optional<u32> x, y;
    } place;
    for (const Json& event : arguments.list("events")) {
        const std::string& type = *event.find("type")->string();
        const Json& data = *event.find("data");
        if (type == "key") {
            const auto key = key_of(*data.find("key"));
            if (!key) return key.error();
            actions.push_back(
                [key = *key, down = *data.find("down")->get_if<bool>()](auto& inputs) { inputs.key(key, down); });
        } else if (type == "btn") {
            const std::string& name = *data.find("button")->string();
            const bool down = *data.find("down")->get_if<bool>();
            if (const auto button = button_of(name))
                actions.push_back([button = *button, down](auto& inputs) { inputs.button(button, down); });
            else if (name == "wheel-up" || name == "wheel-down")
                actions.push_back([steps = name == "wheel-up" ? 1 : -1, down](auto& inputs) {
                    if (down) inputs.scroll(steps);
                });
            else
                return error("the mouse has no button '{}'", name);
        } else if (type == "rel") {
            constexpr i64 most = 10'000;
            const i64 value = *data.find("value")->get_if<i64>();
            if (value < -most || value > most) return error("a mouse moves at most {} at a time", most);
            (*data.find("axis")->string() == "x" ? dx : dy) += static_cast<i32>(value);
        } else {
            const i64 value = *data.find("value")->get_if<i64>();
            if (value < 0 || value >= devices::InputDevice::place_end)
                return error("a place is from 0 to {} on each axis", devices::InputDevice::place_end - 1);
            (*data.find("axis")->string() == "x" ? place.x : place.y) = static_cast<u32>(value);
        }
    }
    machine::Inputs& inputs = control.machine.chipset().inputs();
    if (place.x || place.y) {
        if (!inputs.takes_places())
            return error("no pointer with absolute places is in use (-device virtio-tablet-pci, and the guest's driver "
                         "of it): send events of type rel");
        control.place.x = place.x.value_or(control.place.x);
        control.place.y = place.y.value_or(control.place.y);
        inputs.place(control.place.x, control.place.y);
    }
    if (dx || dy) inputs.move(dx, dy);
    for (const auto& action : actions)
        action(inputs);
    return {};
}

Answer screendump(Control& control, const Arguments& arguments) {
    if (arguments.has("device") || arguments.number("head", 0) != 0)
        return error("there is one screen here; leave device and head out");
    return monitor::save_screen(control.machine, arguments.text("filename"), arguments.text("format", "ppm"));
}

Answer query_mice(Control& control, const Arguments&) {
    Json::Array list;
    for (const auto& pointer : control.machine.chipset().inputs().pointers())
        list.push_back(Object{{"name", pointer.title},
                              {"index", pointer.index},
                              {"current", pointer.current},
                              {"absolute", pointer.absolute}});
    return list;
}

constexpr std::array commands{
    Command{"send-key", "keys: [KeyValue], hold-time?: uint", "", send_key},
    Command{"input-send-event", "device?: str, head?: int, events: [InputEvent]", "", input_send_event},
    Command{"screendump", "filename: str, device?: str, head?: int, format?: ImageFormat", "", screendump},
    Command{"query-mice", "", "[MouseInfo]", query_mice},
};

} // namespace

std::span<const Command> input_commands() { return commands; }

} // namespace calque::qmp
