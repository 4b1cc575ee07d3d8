// The monitor's commands for screen, keyboard and pointer. Each gives what there is to say.
#pragma once

#include "base/result.h"
#include "devices/input/keys.h"
#include "frontend/machine/machine.h"

#include <string>
#include <vector>

namespace calque::monitor {

Result<void> save_screen(machine::Machine& machine, const std::string& file, std::string_view format);
// "FILE" or "-f png FILE". Without -f the file's name tells the format: PNG when it ends so, else PPM.
std::string screendump(machine::Machine& machine, const std::string& argument);
// The characters of a text mode.
std::string screen_text(machine::Machine& machine);
// "ctrl-alt-delete": presses the keys in order, lets them go in reverse order.
std::string send_keys(machine::Machine& machine, const std::string& argument);

// A line for each pointer, the one in use with a star.
std::string describe_pointers(machine::Machine& machine);
// "INDEX" of that list.
std::string select_pointer(machine::Machine& machine, const std::string& argument);
// "RIGHT DOWN [WHEEL]" and "BUTTONS" (1 left, 2 middle, 4 right) as QEMU's mouse_move and mouse_button.
std::string move_pointer(machine::Machine& machine, const std::string& argument);
std::string press_buttons(machine::Machine& machine, const std::string& argument);

// By QEMU's names of keys, and ours.
Result<std::vector<devices::Key>> parse_keys(const std::string& text);

} // namespace calque::monitor
