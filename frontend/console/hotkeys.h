// What Ctrl-Alt with a key does in the window.
#pragma once

#include "base/types.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calque::console {

enum class Action : u8 {
    help,
    grab,
    full_screen,
    own_size,
    scaling,
    status_line,
    pause,
    reset,
    power_button,
    ctrl_alt_delete,
    paste,
    screenshot,
    quit,
};

// By the key's HID usage, as SDL counts scancodes.
std::optional<Action> action_of(unsigned scancode);
// The consoles are on the digits: 0 for Ctrl-Alt-1.
std::optional<unsigned> console_of(unsigned scancode);
// The lines of the help, for these consoles.
std::string help_text(const std::vector<std::string>& consoles);

} // namespace calque::console
