// A terminal's cells as pixels.
#pragma once

#include "devices/display.h"
#include "frontend/console/font.h"
#include "frontend/console/terminal.h"

#include <string_view>

namespace calque::console {

// One character at dots (x, y), which lies in the surface.
void draw_cell(const Font& font, Cell cell, devices::Surface& surface, u32 x, u32 y, bool cursor = false);
// A row of characters; what does not fit is left out, what is left of the row is blank.
void draw_line(const Font& font, std::string_view text, u8 attribute, devices::Surface& surface, u32 y);

class TerminalPicture {
  public:
    explicit TerminalPicture(const Font& font) : font_(&font) {} // Which outlives it.
    // Draws the rows that are not as they were. `cursor`: whether it is to be seen now.
    devices::Display::Damage update(const Terminal& terminal, bool cursor, devices::Surface& surface);

  private:
    const Font* font_;
    u64 version_ = 0;
    Terminal::Cursor cursor_;
    std::vector<Terminal::Row> drawn_;
};

} // namespace calque::console
