#include "frontend/console/font.h"

#include "frontend/machine/firmware_files.h"
#include "frontend/machine/host_file.h"

#include <algorithm>

namespace calque::console {

namespace {

// How an 8 by 16 font of this code page begins: an empty character, then the upper half of a face.
constexpr std::array<u8, 26> beginning{0, 0, 0, 0, 0, 0,    0,    0,    0,    0,    0,    0,    0,
                                       0, 0, 0, 0, 0, 0x7E, 0x81, 0xA5, 0x81, 0x81, 0xBD, 0x99, 0x81};

// Code page 437 from 80 up.
constexpr std::array<char16_t, 128> upper_half{
    u'Ç', u'ü', u'é', u'â', u'ä', u'à', u'å', u'ç', u'ê', u'ë', u'è', u'ï', u'î', u'ì', u'Ä', u'Å',
    u'É', u'æ', u'Æ', u'ô', u'ö', u'ò', u'û', u'ù', u'ÿ', u'Ö', u'Ü', u'¢', u'£', u'¥', u'₧', u'ƒ',
    u'á', u'í', u'ó', u'ú', u'ñ', u'Ñ', u'ª', u'º', u'¿', u'⌐', u'¬', u'½', u'¼', u'¡', u'«', u'»',
    u'░', u'▒', u'▓', u'│', u'┤', u'╡', u'╢', u'╖', u'╕', u'╣', u'║', u'╗', u'╝', u'╜', u'╛', u'┐',
    u'└', u'┴', u'┬', u'├', u'─', u'┼', u'╞', u'╟', u'╚', u'╔', u'╩', u'╦', u'╠', u'═', u'╬', u'╧',
    u'╨', u'╤', u'╥', u'╙', u'╘', u'╒', u'╓', u'╫', u'╪', u'┘', u'┌', u'█', u'▄', u'▌', u'▐', u'▀',
    u'α', u'ß', u'Γ', u'π', u'Σ', u'σ', u'µ', u'τ', u'Φ', u'Θ', u'Ω', u'δ', u'∞', u'φ', u'ε', u'∩',
    u'≡', u'±', u'≥', u'≤', u'⌠', u'⌡', u'÷', u'≈', u'°', u'∙', u'·', u'√', u'ⁿ', u'²', u'■', u'\u00A0'};

} // namespace

Result<Font> find_font(std::span<const u8> bios) {
    const auto at = std::search(bios.begin(), bios.end(), beginning.begin(), beginning.end());
    Font font;
    if (bios.end() - at < static_cast<std::ptrdiff_t>(sizeof font.glyphs))
        return error("there is no font of 8 by 16 dots in it");
    auto from = at;
    for (auto& glyph : font.glyphs) {
        std::copy_n(from, Font::height, glyph.begin());
        from += Font::height;
    }
    return font;
}

Result<Font> load_font(std::span<const std::string> folders) {
    const std::string name = "vgabios-stdvga.bin", path = machine::find_firmware(name, folders);
    if (path.empty())
        return error("the window's font is that of {}, which is not in {}; install Debian's package seabios", name,
                     machine::firmware_places(folders));
    constexpr u64 largest = u64{1} << 20;
    const auto bios = machine::read_host_file(path, "-L", largest);
    if (!bios) return bios.error();
    auto font = find_font(*bios);
    if (!font) return error("the window takes its font from {}: {}", path, font.error().message);
    return font;
}

u8 to_code_page_437(u32 character) {
    if (character < 0x80) return static_cast<u8>(character);
    const auto found = std::find(upper_half.begin(), upper_half.end(), character);
    return found == upper_half.end() ? u8{'?'} : static_cast<u8>(0x80 + (found - upper_half.begin()));
}

} // namespace calque::console
