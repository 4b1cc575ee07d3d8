#include "frontend/console/layouts.h"

#include <array>
#include <tuple>

namespace calque::console {

using devices::Key;

// The characters of each row of keys, from the left: alone, with Shift, with AltGr (a space: none).
class Layout {
  public:
    std::string_view name;
    struct Row {
        std::u32string_view plain, shifted, alt_gr;
    };
    std::array<Row, 4> rows; // Digits, QWERTY, ASDF, the lowest with the key right of the left Shift first.
};

namespace {

constexpr std::array digits{Key::grave,  Key::digit1, Key::digit2, Key::digit3, Key::digit4, Key::digit5, Key::digit6,
                            Key::digit7, Key::digit8, Key::digit9, Key::digit0, Key::minus,  Key::equal};
constexpr std::array upper{Key::q,
                           Key::w,
                           Key::e,
                           Key::r,
                           Key::t,
                           Key::y,
                           Key::u,
                           Key::i,
                           Key::o,
                           Key::p,
                           Key::bracket_left,
                           Key::bracket_right};
constexpr std::array middle{Key::a, Key::s, Key::d, Key::f,         Key::g,          Key::h,
                            Key::j, Key::k, Key::l, Key::semicolon, Key::apostrophe, Key::backslash};
constexpr std::array lower{Key::iso, Key::z, Key::x,     Key::c,      Key::v,    Key::b,
                           Key::n,   Key::m, Key::comma, Key::period, Key::slash};

const std::array layouts{
    Layout{"en-us",
           {{{U"`1234567890-=", U"~!@#$%^&*()_+", U""},
             {U"qwertyuiop[]", U"QWERTYUIOP{}", U""},
             {U"asdfghjkl;'\\", U"ASDFGHJKL:\"|", U""},
             {U"\\zxcvbnm,./", U"|ZXCVBNM<>?", U""}}}},
    Layout{"en-gb",
           {{{U"`1234567890-=", U"¬!\"£$%^&*()_+", U"¦"},
             {U"qwertyuiop[]", U"QWERTYUIOP{}", U""},
             {U"asdfghjkl;'#", U"ASDFGHJKL:@~", U""},
             {U"\\zxcvbnm,./", U"|ZXCVBNM<>?", U""}}}},
    Layout{"de",
           {{{U" 1234567890ß ", U"°!\"§$%&/()=? ", U"  ²³   {[]}\\"},
             {U"qwertzuiopü+", U"QWERTZUIOPÜ*", U"@ €        ~"},
             {U"asdfghjklöä#", U"ASDFGHJKLÖÄ'", U""},
             {U"<yxcvbnm,.-", U">YXCVBNM;:_", U"|      µ"}}}},
    Layout{"fr",
           {{{U"²&é\"'(-è_çà)=", U" 1234567890°+", U"  ~#{[|`\\^@]}"},
             {U"azertyuiop $", U"AZERTYUIOP £", U"  €"},
             {U"qsdfghjklmù*", U"QSDFGHJKLM%µ", U""},
             {U"<wxcvbn,;:!", U">WXCVBN?./§", U""}}}},
};

template <std::size_t size>
std::optional<Stroke> in_row(const std::array<Key, size>& keys, const Layout::Row& row, char32_t character) {
    for (const auto& [text, shift, alt_gr] : {std::tuple{row.plain, false, false}, std::tuple{row.shifted, true, false},
                                              std::tuple{row.alt_gr, false, true}})
        if (const auto at = text.find(character); at < size) return Stroke{keys[at], shift, alt_gr};
    return std::nullopt;
}

} // namespace

const Layout* find_layout(std::string_view name) {
    for (const Layout& layout : layouts)
        if (layout.name == name) return &layout;
    return nullptr;
}

std::string layout_names() {
    std::string names;
    for (const Layout& layout : layouts)
        names += (names.empty() ? "" : ", ") + std::string(layout.name);
    return names;
}

std::optional<Stroke> stroke_for(const Layout& layout, char32_t character) {
    switch (character) {
    case U' ': return Stroke{Key::space};
    case U'\n': return Stroke{Key::enter};
    case U'\t': return Stroke{Key::tab};
    default: break;
    }
    if (auto found = in_row(digits, layout.rows[0], character)) return found;
    if (auto found = in_row(upper, layout.rows[1], character)) return found;
    if (auto found = in_row(middle, layout.rows[2], character)) return found;
    return in_row(lower, layout.rows[3], character);
}

std::vector<char32_t> characters_of(std::string_view text) {
    std::vector<char32_t> characters;
    for (std::size_t i = 0; i < text.size();) {
        const u8 first = static_cast<u8>(text[i++]);
        const unsigned more = first < 0x80   ? 0
                              : first < 0xC2 ? 9
                              : first < 0xE0 ? 1
                              : first < 0xF0 ? 2
                              : first < 0xF5 ? 3
                                             : 9;
        if (more > 3 || more > text.size() - i) continue;
        char32_t character = more == 0 ? first : first & (0x3Fu >> more);
        bool good = true;
        for (unsigned n = 0; n < more && good; ++n) {
            const u8 next = static_cast<u8>(text[i + n]);
            good = (next & 0xC0) == 0x80;
            character = character << 6 | (next & 0x3F);
        }
        if (!good) continue;
        i += more;
        if (character == U'\r') { // A line may end in both.
            if (i < text.size() && text[i] == '\n') continue;
            character = U'\n';
        }
        characters.push_back(character);
    }
    return characters;
}

} // namespace calque::console
