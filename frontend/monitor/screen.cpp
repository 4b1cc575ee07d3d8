#include "frontend/monitor/screen.h"

#include "frontend/backends/screenshot.h"
#include "frontend/machine/host_file.h"

#include <algorithm>
#include <charconv>

namespace calque::monitor {

namespace {

using devices::Key;

// QEMU's names where they are not those of our table.
struct Alias {
    std::string_view name;
    Key key;
};
constexpr std::array aliases{
    Alias{"esc", Key::escape},
    Alias{"ret", Key::enter},
    Alias{"spc", Key::space},
    Alias{"shift", Key::shift_left},
    Alias{"shift_r", Key::shift_right},
    Alias{"ctrl", Key::control_left},
    Alias{"ctrl_r", Key::control_right},
    Alias{"alt", Key::alt_left},
    Alias{"alt_r", Key::alt_right},
    Alias{"meta_l", Key::meta_left},
    Alias{"meta_r", Key::meta_right},
    Alias{"delete", Key::del},
    Alias{"pgup", Key::page_up},
    Alias{"pgdn", Key::page_down},
    Alias{"dot", Key::period},
    Alias{"grave_accent", Key::grave},
    Alias{"less", Key::iso},
    Alias{"print", Key::print_screen},
    Alias{"sysrq", Key::print_screen},
    Alias{"kp_divide", Key::pad_slash},
    Alias{"kp_multiply", Key::pad_asterisk},
    Alias{"kp_subtract", Key::pad_minus},
    Alias{"kp_add", Key::pad_plus},
    Alias{"kp_enter", Key::pad_enter},
    Alias{"kp_decimal", Key::pad_period},
};

Result<Key> parse_key(const std::string& name) {
    std::string wanted = name;
    if (name.size() == 1 && name[0] >= '0' && name[0] <= '9') wanted = "digit" + name;
    if (name.size() == 4 && name.starts_with("kp_")) wanted = "pad" + name.substr(3);
    for (const Alias& alias : aliases)
        if (alias.name == name) return alias.key;
    for (std::size_t i = 0; i < devices::key_codes.size(); ++i)
        if (devices::key_codes[i].name == wanted) return static_cast<Key>(i);
    return error(
        "there is no key '{}'; keys are called a, 1, ret, esc, spc, f1, shift, ctrl, alt, delete, up, kp_1 ...", name);
}

} // namespace

Result<std::vector<Key>> parse_keys(const std::string& text) {
    std::vector<Key> keys;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find('-', at), text.size());
        auto key = parse_key(text.substr(at, end - at));
        if (!key) return key.error();
        keys.push_back(*key);
        at = end + 1;
    }
    constexpr std::size_t most = 16;
    if (keys.size() > most) return error("at most {} keys at a time", most);
    return keys;
}

std::string send_keys(machine::Machine& machine, const std::string& argument) {
    const auto keys = parse_keys(argument);
    if (!keys) return keys.error().message + "\n";
    machine::Inputs& inputs = machine.chipset().inputs();
    for (const Key key : *keys)
        inputs.key(key, true);
    std::for_each(keys->rbegin(), keys->rend(), [&](Key key) { inputs.key(key, false); });
    return {};
}

std::string describe_pointers(machine::Machine& machine) {
    std::string text;
    for (const auto& pointer : machine.chipset().inputs().pointers())
        text += fmt::format("{} Mouse #{}: {}{}\n", pointer.current ? '*' : ' ', pointer.index, pointer.title,
                            pointer.absolute ? " (absolute)" : "");
    return text;
}

namespace {
// Whole numbers between spaces; nothing when one of them is none, or their count is not from `least` to `most`.
std::optional<std::vector<i32>> numbers(const std::string& text, std::size_t least, std::size_t most) {
    std::vector<i32> found;
    for (std::size_t at = text.find_first_not_of(' '); at < text.size(); at = text.find_first_not_of(' ', at)) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        i32 number = 0;
        const auto [stop, problem] = std::from_chars(text.data() + at, text.data() + end, number);
        if (problem != std::errc() || stop != text.data() + end) return std::nullopt;
        found.push_back(number);
        at = end;
    }
    if (found.size() < least || found.size() > most) return std::nullopt;
    return found;
}
} // namespace

std::string select_pointer(machine::Machine& machine, const std::string& argument) {
    const auto index = numbers(argument, 1, 1);
    if (!index || index->front() < 0) return "mouse_set takes a number; 'info mice' shows them\n";
    if (machine.chipset().inputs().select(static_cast<unsigned>(index->front()))) return {};
    return fmt::format("there is no pointer {}; 'info mice' lists them\n", argument);
}

std::string move_pointer(machine::Machine& machine, const std::string& argument) {
    constexpr i32 most = 10'000;
    auto steps = numbers(argument, 2, 3);
    if (!steps || std::any_of(steps->begin(), steps->end(), [](i32 step) { return step < -most || step > most; }))
        return fmt::format("mouse_move takes steps to the right and down, each at most {}, and of the wheel\n", most);
    machine::Inputs& inputs = machine.chipset().inputs();
    if (steps->at(0) || steps->at(1)) inputs.move(steps->at(0), steps->at(1));
    if (steps->size() == 3 && steps->at(2)) inputs.scroll(steps->at(2));
    return {};
}

std::string press_buttons(machine::Machine& machine, const std::string& argument) {
    using devices::MouseButton;
    constexpr i32 all = 7;
    const auto mask = numbers(argument, 1, 1);
    if (!mask || mask->front() < 0 || mask->front() > all)
        return "mouse_button takes the buttons that are down: 1 left, 2 middle, 4 right, added up\n";
    unsigned bit = 1;
    for (const MouseButton button : {MouseButton::left, MouseButton::middle, MouseButton::right}) {
        machine.chipset().inputs().button(button, static_cast<unsigned>(mask->front()) & bit);
        bit <<= 1;
    }
    return {};
}

std::string screen_text(machine::Machine& machine) {
    if (machine.chipset().displays().empty()) return "there is no screen; start with -vga std\n";
    const auto rows = machine.chipset().displays().front()->text();
    if (!rows) return "the screen is in a graphics mode; screendump takes its picture\n";
    std::string text;
    for (const std::string& row : *rows) {
        std::string line;
        for (const char c : row)
            line += c >= 0x20 && c < 0x7F ? c : c == 0 ? ' ' : '?'; // What code page 437 has beyond ASCII shows as ?.
        text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
}

Result<void> save_screen(machine::Machine& machine, const std::string& file, std::string_view format) {
    if (machine.chipset().displays().empty()) return error("there is no screen; start with -vga std");
    devices::Surface surface;
    machine.chipset().displays().front()->take_picture(surface);
    const auto image = backends::encode_screenshot(surface, format);
    if (!image) return image.error();
    return machine::write_host_file(file, *image);
}

std::string screendump(machine::Machine& machine, const std::string& argument) {
    std::string file = argument, format;
    if (file.starts_with("-f ")) {
        const std::size_t name = file.find_first_not_of(' ', 3), space = file.find(' ', name);
        if (space == std::string::npos) return "screendump takes a file: screendump -f png FILE\n";
        format = file.substr(name, space - name);
        file.erase(0, file.find_first_not_of(' ', space));
    }
    if (file.empty()) return "screendump takes a file: screendump FILE\n";
    if (format.empty()) format = file.ends_with(".png") ? "png" : "ppm";
    const auto saved = save_screen(machine, file, format);
    return saved ? "" : saved.error().message + "\n";
}

} // namespace calque::monitor
