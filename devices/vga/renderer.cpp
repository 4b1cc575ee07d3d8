#include "devices/vga/renderer.h"

#include "devices/vga/crtc.h"
#include "devices/vga/text_screen.h"

#include <algorithm>

namespace calque::devices::vga {

namespace {

constexpr u64 page = 4096;

// DAC entries as colours of the surface, and the 16 of the attribute controller.
struct Colors {
    explicit Colors(const Registers& r) {
        const bool wide = r.dispi[DISPI_ENABLE] & DISPI_8BIT_DAC;
        for (unsigned i = 0; i < 256; ++i) {
            const u8* const entry = &r.palette[(i & r.pel_mask) * 3u];
            u32 rgb = 0;
            for (unsigned c = 0; c < 3; ++c)
                rgb = rgb << 8 | (wide ? entry[c] : static_cast<u8>(entry[c] << 2 | (entry[c] >> 4 & 3)));
            dac[i] = rgb;
        }
        const u8 select = r.attribute[AR_COLOR_SELECT];
        for (unsigned i = 0; i < 16; ++i) {
            u8 color = r.attribute[i & r.attribute[AR_PLANE_ENABLE] & 15] & 0x3F;
            if (r.attribute[AR_MODE] & ATTRIBUTE_COLOR_BITS_4_5) color = (color & 15) | (select & 3) << 4;
            attribute[i] = dac[color | (select & 0x0C) << 4];
        }
    }
    std::array<u32, 256> dac;
    std::array<u32, 16> attribute;
};

// A screen in one mode: lines are drawn one by one. `line` has room for width() pixels.
class Mode {
  public:
    explicit Mode(const Picture& picture) : p_(picture), r_(picture.registers), colors_(r_), crtc_(r_) {}

    bool blank() const {
        if (r_.vbe()) return false;
        return !(r_.attribute_index & ATTRIBUTE_VIDEO_ENABLE) || (r_.sequencer[SR_CLOCKING] & CLOCKING_SCREEN_OFF)
               || !(r_.crtc[CR_MODE] & CRTC_SYNC_ENABLE) || (r_.sequencer[SR_RESET] & 3) != 3;
    }
    bool is_text() const { return !r_.vbe() && !(r_.graphics[GR_MISCELLANEOUS] & MISCELLANEOUS_GRAPHICS); }
    // Before anybody has set a mode it is 640 by 400.
    u32 width() const {
        if (r_.vbe()) return r_.dispi[DISPI_XRES];
        return unset() ? 640 : crtc_.columns() * character_width() * dot_width();
    }
    u32 height() const {
        if (r_.vbe()) return r_.dispi[DISPI_YRES];
        return unset() ? 400 : crtc_.lines();
    }

    void draw(u32 y, u32* line);
    // Whether any byte that the line shows lies in a written page.
    bool touched(u32 y, const std::vector<bool>& written) const;

  private:
    bool unset() const { return blank() && (crtc_.columns() < 16 || crtc_.lines() < 16); }
    u32 character_width() const { return is_text() && !(r_.sequencer[SR_CLOCKING] & CLOCKING_8_DOTS) ? 9 : 8; }
    u32 dot_width() const { return r_.sequencer[SR_CLOCKING] & CLOCKING_HALF_DOT_CLOCK ? 2 : 1; }
    u32 panning(const Crtc::Line& at) const;
    u64 vbe_start(u32 y) const;
    void draw_vbe(u32 y, u32* line) const;
    void draw_vbe_planar(u32 y, u32* line) const;
    void text_character(const Crtc::Line& at, u32 column, u32* dots) const;
    void planar_character(const Crtc::Line& at, u32 column, u32* dots) const;
    void interleaved_character(const Crtc::Line& at, u32 column, u32* dots) const;
    void packed_character(const Crtc::Line& at, u32 column, u32* dots) const;
    u8 plane(u32 address, unsigned number) const { return p_.memory[address * 4 + number]; }

    const Picture& p_;
    const Registers& r_;
    const Colors colors_;
    const Crtc crtc_;
    std::vector<u32> dots_; // A line before it is panned.
};

// How many dots the line is shifted to the left.
u32 Mode::panning(const Crtc::Line& at) const {
    if (at.split && (r_.attribute[AR_MODE] & ATTRIBUTE_SPLIT_PANNING)) return 0;
    const u32 value = r_.attribute[AR_PANNING];
    if (character_width() == 9) return value >= 8 ? 0 : value + 1;
    return value & 7;
}

void Mode::draw(u32 y, u32* line) {
    if (r_.vbe()) return draw_vbe(y, line);
    const Crtc::Line at = crtc_.line(y);
    const u32 width = character_width(), columns = crtc_.columns() + 1, repeat = dot_width();
    dots_.resize(std::size_t{columns} * width);
    for (u32 column = 0; column < columns; ++column) {
        u32* const dots = dots_.data() + std::size_t{column} * width;
        if (is_text())
            text_character(at, column, dots);
        else if (r_.graphics[GR_MODE] & MODE_SHIFT_256)
            packed_character(at, column, dots);
        else if (r_.graphics[GR_MODE] & MODE_SHIFT_INTERLEAVE)
            interleaved_character(at, column, dots);
        else
            planar_character(at, column, dots);
    }
    const u32* from = dots_.data() + panning(at);
    for (u32 x = 0; x < crtc_.columns() * width; ++x, ++from)
        for (u32 i = 0; i < repeat; ++i)
            *line++ = *from;
}

void Mode::text_character(const Crtc::Line& at, u32 column, u32* dots) const {
    const u32 address = crtc_.address(at, column), width = character_width();
    const TextCell cell = text_cell(r_, p_.memory, address);
    const bool blinks = r_.attribute[AR_MODE] & ATTRIBUTE_BLINK;
    const u32 background = colors_.attribute[cell.attribute >> 4 & (blinks ? 7 : 15)];
    const u32 foreground = colors_.attribute[cell.attribute & 15];
    u32 pattern = u32{font_line(r_, p_.memory, cell, at.row_scan)} << 1;
    // Line graphics go on to the ninth dot.
    if (cell.character >= 0xC0 && cell.character <= 0xDF && (r_.attribute[AR_MODE] & ATTRIBUTE_LINE_GRAPHICS))
        pattern |= pattern >> 1 & 1;
    if (blinks && (cell.attribute & 0x80) && !p_.blink.characters) pattern = 0;
    if ((cell.attribute & 0x77) == 1 && at.row_scan == (r_.crtc[CR_UNDERLINE] & 31u)) pattern = 0x1FF;
    if (p_.blink.cursor && cursor_at(r_, crtc_.counter(at, column), at.row_scan)) pattern = 0x1FF;
    for (u32 i = 0; i < width; ++i)
        dots[i] = pattern >> (8 - i) & 1 ? foreground : background;
}

// A pixel is a bit of each plane.
void Mode::planar_character(const Crtc::Line& at, u32 column, u32* dots) const {
    const u32 address = crtc_.address(at, column);
    const u32 p0 = plane(address, 0), p1 = plane(address, 1), p2 = plane(address, 2), p3 = plane(address, 3);
    for (u32 i = 0; i < 8; ++i) {
        const u32 bit = 7 - i;
        dots[i] =
            colors_.attribute[(p0 >> bit & 1) | (p1 >> bit & 1) << 1 | (p2 >> bit & 1) << 2 | (p3 >> bit & 1) << 3];
    }
}

// The CGA's: two bits of an even address, then of the odd one; planes 2 and 3 give the upper bits.
void Mode::interleaved_character(const Crtc::Line& at, u32 column, u32* dots) const {
    const u32 address = crtc_.address(at, column);
    for (u32 i = 0; i < 8; ++i) {
        const unsigned odd = i / 4, shift = 6 - 2 * (i & 3);
        dots[i] = colors_.attribute[(plane(address, odd) >> shift & 3) | (plane(address, odd + 2) >> shift & 3) << 2];
    }
}

// 256 colours: a pixel, two dots wide, is a byte of one plane.
void Mode::packed_character(const Crtc::Line& at, u32 column, u32* dots) const {
    const u32 address = crtc_.address(at, column);
    for (u32 i = 0; i < 8; ++i)
        dots[i] = colors_.dac[plane(address, i / 2)];
}

// In bytes; of each plane with 4 bits.
u64 Mode::vbe_start(u32 y) const {
    const u32 depth = r_.dispi[DISPI_BPP], x = r_.dispi[DISPI_X_OFFSET];
    const u64 row = u64{r_.dispi[DISPI_Y_OFFSET] + y} * dispi_pitch(r_);
    return row + (depth == 4 ? x / 8 : x * ((depth + 7) / 8));
}

void Mode::draw_vbe(u32 y, u32* line) const {
    if (r_.dispi[DISPI_BPP] == 4) return draw_vbe_planar(y, line);
    const u8* from = p_.memory.data() + vbe_start(y);
    const u32 count = width();
    const auto five = [](u32 v) { return v << 3 | v >> 2; };
    switch (r_.dispi[DISPI_BPP]) {
    case 8:
        for (u32 x = 0; x < count; ++x)
            line[x] = colors_.dac[from[x]];
        return;
    case 15:
        for (u32 x = 0; x < count; ++x, from += 2) {
            const u32 v = from[0] | u32{from[1]} << 8;
            line[x] = five(v >> 10 & 31) << 16 | five(v >> 5 & 31) << 8 | five(v & 31);
        }
        return;
    case 16:
        for (u32 x = 0; x < count; ++x, from += 2) {
            const u32 v = from[0] | u32{from[1]} << 8, green = v >> 5 & 63;
            line[x] = five(v >> 11) << 16 | (green << 2 | green >> 4) << 8 | five(v & 31);
        }
        return;
    case 24:
        for (u32 x = 0; x < count; ++x, from += 3)
            line[x] = from[0] | u32{from[1]} << 8 | u32{from[2]} << 16;
        return;
    default:
        for (u32 x = 0; x < count; ++x, from += 4)
            line[x] = from[0] | u32{from[1]} << 8 | u32{from[2]} << 16;
    }
}

void Mode::draw_vbe_planar(u32 y, u32* line) const {
    const u32 mask = static_cast<u32>(p_.memory.size() / 4 - 1), skip = r_.dispi[DISPI_X_OFFSET] % 8;
    const u32 start = static_cast<u32>(vbe_start(y));
    for (u32 x = 0; x < width(); ++x) {
        const u32 address = (start + (x + skip) / 8) & mask, bit = 7 - (x + skip) % 8;
        u32 color = 0;
        for (unsigned p = 0; p < 4; ++p)
            color |= (plane(address, p) >> bit & 1u) << p;
        line[x] = colors_.attribute[color];
    }
}

bool Mode::touched(u32 y, const std::vector<bool>& written) const {
    u64 first = 0, end = 0;
    if (r_.vbe()) {
        const u64 planes = r_.dispi[DISPI_BPP] == 4 ? 4 : 1;
        first = vbe_start(y) * planes;
        end = first + u64{dispi_pitch(r_)} * planes;
    } else {
        const auto range = crtc_.range(crtc_.line(y));
        first = u64{range.first} * 4;
        end = u64{range.end} * 4;
    }
    for (u64 at = first / page; at <= (end - 1) / page && at < written.size(); ++at)
        if (written[at]) return true;
    return false;
}

} // namespace

Blink blink_at(u64 nanoseconds) {
    const u64 frame = nanoseconds / 16'666'667;
    return {frame / 8 % 2 == 0, frame / 16 % 2 == 0};
}

Display::Damage render_all(const Picture& picture, Surface& surface) {
    Mode mode(picture);
    const u32 width = mode.width(), height = mode.height();
    const bool resized = width != surface.width || height != surface.height;
    surface.resize(width, height);
    if (mode.blank())
        std::fill(surface.pixels.begin(), surface.pixels.end(), 0);
    else
        for (u32 y = 0; y < height; ++y)
            mode.draw(y, surface.row(y));
    return {resized, 0, height};
}

Display::Damage render_written(const Picture& picture, const std::vector<bool>& written, bool blinked,
                               Surface& surface) {
    Mode mode(picture);
    const bool any = std::find(written.begin(), written.end(), true) != written.end();
    if (mode.blank() || (!any && !(blinked && mode.is_text()))) return {};
    // Text draws on fonts too, which any page of the planes may hold.
    if (mode.is_text()) return render_all(picture, surface);
    Display::Damage damage;
    for (u32 y = 0; y < surface.height; ++y) {
        if (!mode.touched(y, written)) continue;
        mode.draw(y, surface.row(y));
        if (damage.end == 0) damage.first = y;
        damage.end = y + 1;
    }
    return damage;
}

} // namespace calque::devices::vga
