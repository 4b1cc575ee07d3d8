#include "frontend/console/hotkeys.h"

#include <array>
#include <fmt/core.h>

namespace calque::console {

namespace {

struct Hotkey {
    char letter;
    Action action;
    std::string_view help;
};
constexpr std::array hotkeys{
    Hotkey{'H', Action::help, "this page"},
    Hotkey{'G', Action::grab, "take or release keyboard and mouse"},
    Hotkey{'F', Action::full_screen, "full screen, or a window again"},
    Hotkey{'U', Action::own_size, "the window as large as the guest's screen"},
    Hotkey{'I', Action::scaling, "scale by whole numbers, or smoothly"},
    Hotkey{'B', Action::status_line, "show or hide the status line"},
    Hotkey{'P', Action::pause, "stop the guest, let it go on"},
    Hotkey{'R', Action::reset, "press the reset button"},
    Hotkey{'O', Action::power_button, "press the power button"},
    Hotkey{'D', Action::ctrl_alt_delete, "send Ctrl-Alt-Delete to the guest"},
    Hotkey{'V', Action::paste, "type the clipboard's text"},
    Hotkey{'S', Action::screenshot, "write a picture of the screen to this folder"},
    Hotkey{'Q', Action::quit, "end the emulator now (disks are written back)"},
};
constexpr unsigned usage_a = 4, usage_1 = 30, digits = 9;

} // namespace

std::optional<Action> action_of(unsigned scancode) {
    for (const Hotkey& hotkey : hotkeys)
        if (scancode == usage_a + static_cast<unsigned>(hotkey.letter - 'A')) return hotkey.action;
    return std::nullopt;
}

std::optional<unsigned> console_of(unsigned scancode) {
    if (scancode < usage_1 || scancode >= usage_1 + digits) return std::nullopt;
    return scancode - usage_1;
}

std::string help_text(const std::vector<std::string>& consoles) {
    std::string text = "Calque\n\nCtrl-Alt and\n";
    for (const Hotkey& hotkey : hotkeys)
        text += fmt::format("  {}  {}\n", hotkey.letter, hotkey.help);
    for (std::size_t i = 0; i < consoles.size() && i < digits; ++i)
        text += fmt::format("  {}  {}\n", i + 1, consoles[i]);
    return text
           + "\nClosing the window presses the power button; closing it again ends the emulator.\n"
             "Shift-Page Up and Shift-Page Down show what has left a console's screen.\n\nAny key leaves this page.";
}

} // namespace calque::console
