#include "devices/vga/text_screen.h"

#include "devices/vga/crtc.h"

namespace calque::devices::vga {

TextCell text_cell(const Registers&, std::span<const u8> memory, u32 address) {
    return {memory[address * 4], memory[address * 4 + 1]};
}

// Attribute bit 3 chooses between maps A and B, each one of eight of 8 KiB (character map select register).
u8 font_line(const Registers& r, std::span<const u8> memory, TextCell cell, u32 line) {
    const u32 select = r.sequencer[SR_CHARACTER_MAP];
    const u32 map = cell.attribute & 8 ? (select >> 2 & 3) | (select >> 3 & 4) : (select & 3) | (select >> 2 & 4);
    constexpr u32 kib = 1024;
    const u32 base = (map & 3) * 16 * kib + (map >> 2) * 8 * kib;
    return memory[(base + cell.character * 32u + (line & 31)) * 4 + 2];
}

bool cursor_at(const Registers& r, u32 counter, u32 line) {
    const auto& c = r.crtc;
    if (c[CR_CURSOR_START] & CURSOR_OFF) return false;
    const u32 skew = c[CR_CURSOR_END] >> 5 & 3;
    if (counter != (((u32{c[CR_CURSOR_HIGH]} << 8 | c[CR_CURSOR_LOW]) + skew) & 0xFFFF)) return false;
    return line >= (c[CR_CURSOR_START] & 31u) && line <= (c[CR_CURSOR_END] & 31u);
}

std::optional<std::vector<std::string>> text_screen(const Registers& r, std::span<const u8> memory) {
    if (r.vbe() || (r.graphics[GR_MISCELLANEOUS] & MISCELLANEOUS_GRAPHICS)
        || !(r.attribute_index & ATTRIBUTE_VIDEO_ENABLE))
        return std::nullopt;
    const Crtc crtc(r);
    std::vector<std::string> rows;
    for (u32 y = 0, last_scan = 0; y < crtc.lines(); ++y) {
        const Crtc::Line line = crtc.line(y);
        const bool begins = y == 0 || line.row_scan < last_scan || (line.row_scan == 0 && last_scan == 0);
        last_scan = line.row_scan;
        if (!begins) continue;
        std::string row;
        for (u32 column = 0; column < crtc.columns(); ++column)
            row += static_cast<char>(text_cell(r, memory, crtc.address(line, column)).character);
        rows.push_back(std::move(row));
    }
    return rows;
}

} // namespace calque::devices::vga
