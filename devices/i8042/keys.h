// The keys of a 105-key PC keyboard by their place on a US layout, and the codes that they send.
#pragma once

#include "base/types.h"

#include <array>
#include <string_view>

namespace calque::devices {

// X(name, set 2 code, is it prefixed with E0, set 3 code). Set 1 codes are what the keyboard controller translates set
// 2 codes to. IBM Personal System/2 Hardware Interface Technical Reference, keyboard section.
#define CALQUE_KEYS(X)                                                                                                 \
    X(escape, 0x76, false, 0x08)                                                                                       \
    X(f1, 0x05, false, 0x07)                                                                                           \
    X(f2, 0x06, false, 0x0F)                                                                                           \
    X(f3, 0x04, false, 0x17)                                                                                           \
    X(f4, 0x0C, false, 0x1F)                                                                                           \
    X(f5, 0x03, false, 0x27)                                                                                           \
    X(f6, 0x0B, false, 0x2F)                                                                                           \
    X(f7, 0x83, false, 0x37)                                                                                           \
    X(f8, 0x0A, false, 0x3F)                                                                                           \
    X(f9, 0x01, false, 0x47)                                                                                           \
    X(f10, 0x09, false, 0x4F)                                                                                          \
    X(f11, 0x78, false, 0x56)                                                                                          \
    X(f12, 0x07, false, 0x5E)                                                                                          \
    X(grave, 0x0E, false, 0x0E)                                                                                        \
    X(digit1, 0x16, false, 0x16)                                                                                       \
    X(digit2, 0x1E, false, 0x1E)                                                                                       \
    X(digit3, 0x26, false, 0x26)                                                                                       \
    X(digit4, 0x25, false, 0x25)                                                                                       \
    X(digit5, 0x2E, false, 0x2E)                                                                                       \
    X(digit6, 0x36, false, 0x36)                                                                                       \
    X(digit7, 0x3D, false, 0x3D)                                                                                       \
    X(digit8, 0x3E, false, 0x3E)                                                                                       \
    X(digit9, 0x46, false, 0x46)                                                                                       \
    X(digit0, 0x45, false, 0x45)                                                                                       \
    X(minus, 0x4E, false, 0x4E)                                                                                        \
    X(equal, 0x55, false, 0x55)                                                                                        \
    X(backspace, 0x66, false, 0x66)                                                                                    \
    X(tab, 0x0D, false, 0x0D)                                                                                          \
    X(q, 0x15, false, 0x15)                                                                                            \
    X(w, 0x1D, false, 0x1D)                                                                                            \
    X(e, 0x24, false, 0x24)                                                                                            \
    X(r, 0x2D, false, 0x2D)                                                                                            \
    X(t, 0x2C, false, 0x2C)                                                                                            \
    X(y, 0x35, false, 0x35)                                                                                            \
    X(u, 0x3C, false, 0x3C)                                                                                            \
    X(i, 0x43, false, 0x43)                                                                                            \
    X(o, 0x44, false, 0x44)                                                                                            \
    X(p, 0x4D, false, 0x4D)                                                                                            \
    X(bracket_left, 0x54, false, 0x54)                                                                                 \
    X(bracket_right, 0x5B, false, 0x5B)                                                                                \
    X(backslash, 0x5D, false, 0x5C)                                                                                    \
    X(caps_lock, 0x58, false, 0x14)                                                                                    \
    X(a, 0x1C, false, 0x1C)                                                                                            \
    X(s, 0x1B, false, 0x1B)                                                                                            \
    X(d, 0x23, false, 0x23)                                                                                            \
    X(f, 0x2B, false, 0x2B)                                                                                            \
    X(g, 0x34, false, 0x34)                                                                                            \
    X(h, 0x33, false, 0x33)                                                                                            \
    X(j, 0x3B, false, 0x3B)                                                                                            \
    X(k, 0x42, false, 0x42)                                                                                            \
    X(l, 0x4B, false, 0x4B)                                                                                            \
    X(semicolon, 0x4C, false, 0x4C)                                                                                    \
    X(apostrophe, 0x52, false, 0x52)                                                                                   \
    X(enter, 0x5A, false, 0x5A)                                                                                        \
    X(shift_left, 0x12, false, 0x12)                                                                                   \
    X(iso, 0x61, false, 0x13)                                                                                          \
    X(z, 0x1A, false, 0x1A)                                                                                            \
    X(x, 0x22, false, 0x22)                                                                                            \
    X(c, 0x21, false, 0x21)                                                                                            \
    X(v, 0x2A, false, 0x2A)                                                                                            \
    X(b, 0x32, false, 0x32)                                                                                            \
    X(n, 0x31, false, 0x31)                                                                                            \
    X(m, 0x3A, false, 0x3A)                                                                                            \
    X(comma, 0x41, false, 0x41)                                                                                        \
    X(period, 0x49, false, 0x49)                                                                                       \
    X(slash, 0x4A, false, 0x4A)                                                                                        \
    X(shift_right, 0x59, false, 0x59)                                                                                  \
    X(control_left, 0x14, false, 0x11)                                                                                 \
    X(meta_left, 0x1F, true, 0x8B)                                                                                     \
    X(alt_left, 0x11, false, 0x19)                                                                                     \
    X(space, 0x29, false, 0x29)                                                                                        \
    X(alt_right, 0x11, true, 0x39)                                                                                     \
    X(meta_right, 0x27, true, 0x8C)                                                                                    \
    X(menu, 0x2F, true, 0x8D)                                                                                          \
    X(control_right, 0x14, true, 0x58)                                                                                 \
    X(print_screen, 0x7C, true, 0x57)                                                                                  \
    X(scroll_lock, 0x7E, false, 0x5F)                                                                                  \
    X(pause, 0x77, true, 0x62)                                                                                         \
    X(insert, 0x70, true, 0x67)                                                                                        \
    X(home, 0x6C, true, 0x6E)                                                                                          \
    X(page_up, 0x7D, true, 0x6F)                                                                                       \
    X(del, 0x71, true, 0x64)                                                                                           \
    X(end, 0x69, true, 0x65)                                                                                           \
    X(page_down, 0x7A, true, 0x6D)                                                                                     \
    X(up, 0x75, true, 0x63)                                                                                            \
    X(left, 0x6B, true, 0x61)                                                                                          \
    X(down, 0x72, true, 0x60)                                                                                          \
    X(right, 0x74, true, 0x6A)                                                                                         \
    X(num_lock, 0x77, false, 0x76)                                                                                     \
    X(pad_slash, 0x4A, true, 0x77)                                                                                     \
    X(pad_asterisk, 0x7C, false, 0x7E)                                                                                 \
    X(pad_minus, 0x7B, false, 0x84)                                                                                    \
    X(pad_plus, 0x79, false, 0x7C)                                                                                     \
    X(pad_enter, 0x5A, true, 0x79)                                                                                     \
    X(pad_period, 0x71, false, 0x71)                                                                                   \
    X(pad0, 0x70, false, 0x70)                                                                                         \
    X(pad1, 0x69, false, 0x69)                                                                                         \
    X(pad2, 0x72, false, 0x72)                                                                                         \
    X(pad3, 0x7A, false, 0x7A)                                                                                         \
    X(pad4, 0x6B, false, 0x6B)                                                                                         \
    X(pad5, 0x73, false, 0x73)                                                                                         \
    X(pad6, 0x74, false, 0x74)                                                                                         \
    X(pad7, 0x6C, false, 0x6C)                                                                                         \
    X(pad8, 0x75, false, 0x75)                                                                                         \
    X(pad9, 0x7D, false, 0x7D)                                                                                         \
    X(yen, 0x6A, false, 0x5D)                                                                                          \
    X(ro, 0x51, false, 0x51)                                                                                           \
    X(henkan, 0x64, false, 0x86)                                                                                       \
    X(muhenkan, 0x67, false, 0x85)                                                                                     \
    X(katakana, 0x13, false, 0x87)                                                                                     \
    X(power, 0x37, true, 0x00)                                                                                         \
    X(sleep, 0x3F, true, 0x00)                                                                                         \
    X(wake, 0x5E, true, 0x00)                                                                                          \
    X(mute, 0x23, true, 0x00)                                                                                          \
    X(volume_down, 0x21, true, 0x00)                                                                                   \
    X(volume_up, 0x32, true, 0x00)

enum class Key : u8 {
#define X(name, set2, extended, set3) name,
    CALQUE_KEYS(X)
#undef X
        count
};

struct KeyCodes {
    std::string_view name;
    u8 set2;
    bool extended;
    u8 set3; // 0: the key has no code in set 3.
};

inline constexpr std::array<KeyCodes, static_cast<std::size_t>(Key::count)> key_codes{{
#define X(name, set2, extended, set3) {#name, set2, extended, set3},
    CALQUE_KEYS(X)
#undef X
}};

// What the keyboard controller makes of a set 2 byte other than the F0 prefix (PS/2 technical reference, 8042
// translation table).
u8 set2_to_set1(u8 code);

} // namespace calque::devices
