#include "frontend/console/terminal_picture.h"

#include <algorithm>

namespace calque::console {

namespace {
// VGA's sixteen colours.
constexpr std::array<u32, 16> palette{0x000000, 0x0000AA, 0x00AA00, 0x00AAAA, 0xAA0000, 0xAA00AA, 0xAA5500, 0xAAAAAA,
                                      0x555555, 0x5555FF, 0x55FF55, 0x55FFFF, 0xFF5555, 0xFF55FF, 0xFFFF55, 0xFFFFFF};
constexpr u32 cursor_lines = 2;
} // namespace

void draw_cell(const Font& font, Cell cell, devices::Surface& surface, u32 x, u32 y, bool cursor) {
    const u32 front = palette[cell.attribute & 15], back = palette[cell.attribute >> 4 & 7];
    for (u32 line = 0; line < Font::height; ++line) {
        const u8 dots = cursor && line >= Font::height - cursor_lines ? 0xFF : font.glyphs[cell.character][line];
        u32* const to = surface.row(y + line) + x;
        for (u32 dot = 0; dot < Font::width; ++dot)
            to[dot] = dots >> (7 - dot) & 1 ? front : back;
    }
}

void draw_line(const Font& font, std::string_view text, u8 attribute, devices::Surface& surface, u32 y) {
    for (u32 column = 0; (column + 1) * Font::width <= surface.width; ++column)
        draw_cell(font, {column < text.size() ? static_cast<u8>(text[column]) : u8{' '}, attribute}, surface,
                  column * Font::width, y);
}

devices::Display::Damage TerminalPicture::update(const Terminal& terminal, bool cursor, devices::Surface& surface) {
    Terminal::Cursor now = terminal.cursor();
    now.visible = now.visible && cursor;
    const bool cursor_same = now.x == cursor_.x && now.y == cursor_.y && now.visible == cursor_.visible;
    devices::Display::Damage damage;
    constexpr u32 width = Terminal::columns * Font::width, height = Terminal::rows * Font::height;
    damage.resized = surface.width != width || surface.height != height;
    if (damage.resized) {
        surface.resize(width, height);
        drawn_.clear();
    }
    if (!drawn_.empty() && version_ == terminal.version() && cursor_same) return damage;
    const bool everything = drawn_.empty();
    drawn_.resize(Terminal::rows);
    for (u32 y = 0; y < Terminal::rows; ++y) {
        const bool had_cursor = cursor_.visible && cursor_.y == y, has_cursor = now.visible && now.y == y;
        if (!everything && drawn_[y] == terminal.row(y) && (cursor_same || (!had_cursor && !has_cursor))) continue;
        drawn_[y] = terminal.row(y);
        for (u32 x = 0; x < Terminal::columns; ++x)
            draw_cell(*font_, drawn_[y][x], surface, x * Font::width, y * Font::height, has_cursor && now.x == x);
        if (damage.end == 0) damage.first = y * Font::height;
        damage.end = (y + 1) * Font::height;
    }
    version_ = terminal.version();
    cursor_ = now;
    return damage;
}

} // namespace calque::console
