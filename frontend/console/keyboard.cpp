#include "frontend/console/keyboard.h"

#include <array>

namespace calque::console {

namespace {

using devices::Key;
constexpr Key none = Key::count;

// Usages 04 to 67 (USB HID usage tables, keyboard/keypad page); 32 is the key that European keyboards have instead of
// the backslash, with the same code.
constexpr std::array main_keys{
    Key::a,
    Key::b,
    Key::c,
    Key::d,
    Key::e,
    Key::f,
    Key::g,
    Key::h,
    Key::i,
    Key::j,
    Key::k,
    Key::l,
    Key::m,
    Key::n,
    Key::o,
    Key::p,
    Key::q,
    Key::r,
    Key::s,
    Key::t,
    Key::u,
    Key::v,
    Key::w,
    Key::x,
    Key::y,
    Key::z,
    Key::digit1,
    Key::digit2,
    Key::digit3,
    Key::digit4,
    Key::digit5,
    Key::digit6,
    Key::digit7,
    Key::digit8,
    Key::digit9,
    Key::digit0,
    Key::enter,
    Key::escape,
    Key::backspace,
    Key::tab,
    Key::space,
    Key::minus,
    Key::equal,
    Key::bracket_left,
    Key::bracket_right,
    Key::backslash,
    Key::backslash,
    Key::semicolon,
    Key::apostrophe,
    Key::grave,
    Key::comma,
    Key::period,
    Key::slash,
    Key::caps_lock,
    Key::f1,
    Key::f2,
    Key::f3,
    Key::f4,
    Key::f5,
    Key::f6,
    Key::f7,
    Key::f8,
    Key::f9,
    Key::f10,
    Key::f11,
    Key::f12,
    Key::print_screen,
    Key::scroll_lock,
    Key::pause,
    Key::insert,
    Key::home,
    Key::page_up,
    Key::del,
    Key::end,
    Key::page_down,
    Key::right,
    Key::left,
    Key::down,
    Key::up,
    Key::num_lock,
    Key::pad_slash,
    Key::pad_asterisk,
    Key::pad_minus,
    Key::pad_plus,
    Key::pad_enter,
    Key::pad1,
    Key::pad2,
    Key::pad3,
    Key::pad4,
    Key::pad5,
    Key::pad6,
    Key::pad7,
    Key::pad8,
    Key::pad9,
    Key::pad0,
    Key::pad_period,
    Key::iso,
    Key::menu,
    Key::power,
};
constexpr unsigned main_first = 4;
static_assert(main_keys.size() == 0x66 - main_first + 1);

constexpr unsigned modifiers_first = 0xE0;
constexpr std::array modifiers{Key::control_left,  Key::shift_left,  Key::alt_left,  Key::meta_left,
                               Key::control_right, Key::shift_right, Key::alt_right, Key::meta_right};

struct Other {
    unsigned scancode;
    Key key;
};
// Volume, what Japanese keyboards have, and SDL's own number for Sleep.
constexpr std::array others{Other{0x7F, Key::mute},   Other{0x80, Key::volume_up}, Other{0x81, Key::volume_down},
                            Other{0x87, Key::ro},     Other{0x88, Key::katakana},  Other{0x89, Key::yen},
                            Other{0x8A, Key::henkan}, Other{0x8B, Key::muhenkan},  Other{282, Key::sleep}};

} // namespace

std::optional<Key> key_at(unsigned scancode) {
    Key key = none;
    if (scancode >= main_first && scancode - main_first < main_keys.size()) key = main_keys[scancode - main_first];
    if (scancode >= modifiers_first && scancode - modifiers_first < modifiers.size())
        key = modifiers[scancode - modifiers_first];
    for (const Other& other : others)
        if (other.scancode == scancode) key = other.key;
    if (key == none) return std::nullopt;
    return key;
}

} // namespace calque::console
