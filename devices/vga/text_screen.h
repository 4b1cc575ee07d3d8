// Text modes: characters and attributes in planes 0 and 1, fonts in plane 2.
#pragma once

#include "devices/vga/registers.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace calque::devices::vga {

struct TextCell {
    u8 character;
    u8 attribute;
};
// At an address in the planes.
TextCell text_cell(const Registers& registers, std::span<const u8> memory, u32 address);
// The eight dots of a line of the cell's character, in the font that its attribute chooses.
u8 font_line(const Registers& registers, std::span<const u8> memory, TextCell cell, u32 line);
bool cursor_at(const Registers& registers, u32 counter, u32 line);

// Each row of characters on the screen; nothing in a graphics mode.
std::optional<std::vector<std::string>> text_screen(const Registers& registers, std::span<const u8> memory);

} // namespace calque::devices::vga
