// The characters of consoles in the window: those that the guest's VGA BIOS has, code page 437, 8 by 16 dots.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <array>
#include <span>
#include <string>

namespace calque::console {

struct Font {
    static constexpr u32 width = 8, height = 16;
    std::array<std::array<u8, height>, 256> glyphs{}; // The leftmost dot is bit 7.
};

// Finds the font in an image of a VGA BIOS.
Result<Font> find_font(std::span<const u8> bios);
// In the VGA BIOS that machines get (`folders`: those of -L).
Result<Font> load_font(std::span<const std::string> folders);
// The place in code page 437 of a Unicode character; a question mark's for those that it has not.
u8 to_code_page_437(u32 character);

} // namespace calque::console
