// Firmware images by name.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace calque::machine {

// Where a firmware image is: `name` itself when it is a file, or has a folder in it; else in the first of `folders` and
// of Debian's that has it. Empty when none has.
std::string find_firmware(const std::string& name, std::span<const std::string> folders);
// For messages: the folders that find_firmware() looks through.
std::string firmware_places(std::span<const std::string> folders);

} // namespace calque::machine
