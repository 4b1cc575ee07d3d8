#include "frontend/console/vnc_keyboard.h"

#include <algorithm>
#include <array>

namespace calque::console {

namespace {

using devices::Key;

struct Keysym {
    u32 number;
    Key key;
};
// X11/keysymdef.h. The number pad has two sets, with and without Num Lock, which the guest has a state of its own for.
constexpr std::array keysyms{
    Keysym{0xFE03, Key::alt_right},
    Keysym{0xFE20, Key::tab},
    Keysym{0xFF08, Key::backspace},
    Keysym{0xFF09, Key::tab},
    Keysym{0xFF0D, Key::enter},
    Keysym{0xFF13, Key::pause},
    Keysym{0xFF14, Key::scroll_lock},
    Keysym{0xFF1B, Key::escape},
    Keysym{0xFF50, Key::home},
    Keysym{0xFF51, Key::left},
    Keysym{0xFF52, Key::up},
    Keysym{0xFF53, Key::right},
    Keysym{0xFF54, Key::down},
    Keysym{0xFF55, Key::page_up},
    Keysym{0xFF56, Key::page_down},
    Keysym{0xFF57, Key::end},
    Keysym{0xFF61, Key::print_screen},
    Keysym{0xFF63, Key::insert},
    Keysym{0xFF67, Key::menu},
    Keysym{0xFF7E, Key::alt_right},
    Keysym{0xFF7F, Key::num_lock},
    Keysym{0xFF8D, Key::pad_enter},
    Keysym{0xFF95, Key::pad7},
    Keysym{0xFF96, Key::pad4},
    Keysym{0xFF97, Key::pad8},
    Keysym{0xFF98, Key::pad6},
    Keysym{0xFF99, Key::pad2},
    Keysym{0xFF9A, Key::pad9},
    Keysym{0xFF9B, Key::pad3},
    Keysym{0xFF9C, Key::pad1},
    Keysym{0xFF9D, Key::pad5},
    Keysym{0xFF9E, Key::pad0},
    Keysym{0xFF9F, Key::pad_period},
    Keysym{0xFFAA, Key::pad_asterisk},
    Keysym{0xFFAB, Key::pad_plus},
    Keysym{0xFFAC, Key::pad_period},
    Keysym{0xFFAD, Key::pad_minus},
    Keysym{0xFFAE, Key::pad_period},
    Keysym{0xFFAF, Key::pad_slash},
    Keysym{0xFFB0, Key::pad0},
    Keysym{0xFFB1, Key::pad1},
    Keysym{0xFFB2, Key::pad2},
    Keysym{0xFFB3, Key::pad3},
    Keysym{0xFFB4, Key::pad4},
    Keysym{0xFFB5, Key::pad5},
    Keysym{0xFFB6, Key::pad6},
    Keysym{0xFFB7, Key::pad7},
    Keysym{0xFFB8, Key::pad8},
    Keysym{0xFFB9, Key::pad9},
    Keysym{0xFFBE, Key::f1},
    Keysym{0xFFBF, Key::f2},
    Keysym{0xFFC0, Key::f3},
    Keysym{0xFFC1, Key::f4},
    Keysym{0xFFC2, Key::f5},
    Keysym{0xFFC3, Key::f6},
    Keysym{0xFFC4, Key::f7},
    Keysym{0xFFC5, Key::f8},
    Keysym{0xFFC6, Key::f9},
    Keysym{0xFFC7, Key::f10},
    Keysym{0xFFC8, Key::f11},
    Keysym{0xFFC9, Key::f12},
    Keysym{0xFFE1, Key::shift_left},
    Keysym{0xFFE2, Key::shift_right},
    Keysym{0xFFE3, Key::control_left},
    Keysym{0xFFE4, Key::control_right},
    Keysym{0xFFE5, Key::caps_lock},
    Keysym{0xFFE7, Key::meta_left},
    Keysym{0xFFE8, Key::meta_right},
    Keysym{0xFFE9, Key::alt_left},
    Keysym{0xFFEA, Key::alt_right},
    Keysym{0xFFEB, Key::meta_left},
    Keysym{0xFFEC, Key::meta_right},
    Keysym{0xFFFF, Key::del},
};

} // namespace

std::optional<Key> key_of_keysym(u32 keysym) {
    const auto at = std::find_if(keysyms.begin(), keysyms.end(), [=](const Keysym& k) { return k.number == keysym; });
    return at == keysyms.end() ? std::nullopt : std::optional(at->key);
}

// Latin 1 has its own codes, all else is its Unicode number above 01000000h.
std::optional<char32_t> character_of_keysym(u32 keysym) {
    if ((keysym >= 0x20 && keysym <= 0x7E) || (keysym >= 0xA0 && keysym <= 0xFF)) return keysym;
    if (keysym == 0x20AC) return U'\u20AC'; // EuroSign, from before there was a rule.
    if (keysym >= 0x0100'0100 && keysym <= 0x0110'FFFF) return keysym - 0x0100'0000;
    return std::nullopt;
}

void VncKeyboard::event(u32 keysym, bool pressed) {
    std::optional<Stroke> stroke;
    if (const auto key = key_of_keysym(keysym)) {
        pressed ? keys_.press(*key) : keys_.release(*key);
        return;
    }
    if (const auto character = character_of_keysym(keysym)) stroke = stroke_for(layout_, *character);
    if (!stroke) return;
    // Letting go names whatever is on the key by then: its place is the same.
    pressed ? type(*stroke) : keys_.release(stroke->key);
}

void VncKeyboard::type(const Stroke& stroke) {
    const auto held = [&](Key key) { return keys_.holds(key); };
    // With Control or Alt the key counts, not the character: Ctrl-Shift-C stays what it is.
    const bool chord = held(Key::control_left) || held(Key::control_right) || held(Key::alt_left);
    const bool shifted = held(Key::shift_left) || held(Key::shift_right);
    if (chord || (stroke.shift == shifted && stroke.alt_gr == held(Key::alt_right))) return keys_.press(stroke.key);
    std::vector<Key> pressed, released;
    const auto set = [&](Key key, bool wanted) {
        if (held(key) == wanted) return;
        wanted ? keys_.press(key) : keys_.release(key);
        (wanted ? pressed : released).push_back(key);
    };
    if (stroke.shift && !shifted) set(Key::shift_left, true);
    if (!stroke.shift) {
        set(Key::shift_left, false);
        set(Key::shift_right, false);
    }
    set(Key::alt_right, stroke.alt_gr);
    keys_.press(stroke.key);
    for (const Key key : pressed)
        keys_.release(key);
    for (const Key key : released)
        keys_.press(key);
}

} // namespace calque::console
