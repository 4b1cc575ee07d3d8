// The keys of a 105-key PC keyboard by their place on a US layout, and the codes that they send.
#pragma once

#include "base/types.h"

#include <array>
#include <string_view>

namespace calque::devices {

// X(name, set 2 code, is it prefixed with E0, set 3 code, event code, HID usage). Set 1 codes are what the keyboard
// controller translates set 2 codes to (IBM Personal System/2 Hardware Interface Technical Reference, keyboard
// section). Event codes are those of Linux's input-event-codes.h, which virtio 1.2, 5.8 takes; usages are of the
// keyboard page (HID Usage Tables 1.12, section 10), 0 for keys that it has not.
#define CALQUE_KEYS(X)                                                                                                 \
    X(escape, 0x76, false, 0x08, 1, 0x29)                                                                              \
    X(f1, 0x05, false, 0x07, 59, 0x3A)                                                                                 \
    X(f2, 0x06, false, 0x0F, 60, 0x3B)                                                                                 \
    X(f3, 0x04, false, 0x17, 61, 0x3C)                                                                                 \
    X(f4, 0x0C, false, 0x1F, 62, 0x3D)                                                                                 \
    X(f5, 0x03, false, 0x27, 63, 0x3E)                                                                                 \
    X(f6, 0x0B, false, 0x2F, 64, 0x3F)                                                                                 \
    X(f7, 0x83, false, 0x37, 65, 0x40)                                                                                 \
    X(f8, 0x0A, false, 0x3F, 66, 0x41)                                                                                 \
    X(f9, 0x01, false, 0x47, 67, 0x42)                                                                                 \
    X(f10, 0x09, false, 0x4F, 68, 0x43)                                                                                \
    X(f11, 0x78, false, 0x56, 87, 0x44)                                                                                \
    X(f12, 0x07, false, 0x5E, 88, 0x45)                                                                                \
    X(grave, 0x0E, false, 0x0E, 41, 0x35)                                                                              \
    X(digit1, 0x16, false, 0x16, 2, 0x1E)                                                                              \
    X(digit2, 0x1E, false, 0x1E, 3, 0x1F)                                                                              \
    X(digit3, 0x26, false, 0x26, 4, 0x20)                                                                              \
    X(digit4, 0x25, false, 0x25, 5, 0x21)                                                                              \
    X(digit5, 0x2E, false, 0x2E, 6, 0x22)                                                                              \
    X(digit6, 0x36, false, 0x36, 7, 0x23)                                                                              \
    X(digit7, 0x3D, false, 0x3D, 8, 0x24)                                                                              \
    X(digit8, 0x3E, false, 0x3E, 9, 0x25)                                                                              \
    X(digit9, 0x46, false, 0x46, 10, 0x26)                                                                             \
    X(digit0, 0x45, false, 0x45, 11, 0x27)                                                                             \
    X(minus, 0x4E, false, 0x4E, 12, 0x2D)                                                                              \
    X(equal, 0x55, false, 0x55, 13, 0x2E)                                                                              \
    X(backspace, 0x66, false, 0x66, 14, 0x2A)                                                                          \
    X(tab, 0x0D, false, 0x0D, 15, 0x2B)                                                                                \
    X(q, 0x15, false, 0x15, 16, 0x14)                                                                                  \
    X(w, 0x1D, false, 0x1D, 17, 0x1A)                                                                                  \
    X(e, 0x24, false, 0x24, 18, 0x08)                                                                                  \
    X(r, 0x2D, false, 0x2D, 19, 0x15)                                                                                  \
    X(t, 0x2C, false, 0x2C, 20, 0x17)                                                                                  \
    X(y, 0x35, false, 0x35, 21, 0x1C)                                                                                  \
    X(u, 0x3C, false, 0x3C, 22, 0x18)                                                                                  \
    X(i, 0x43, false, 0x43, 23, 0x0C)                                                                                  \
    X(o, 0x44, false, 0x44, 24, 0x12)                                                                                  \
    X(p, 0x4D, false, 0x4D, 25, 0x13)                                                                                  \
    X(bracket_left, 0x54, false, 0x54, 26, 0x2F)                                                                       \
    X(bracket_right, 0x5B, false, 0x5B, 27, 0x30)                                                                      \
    X(backslash, 0x5D, false, 0x5C, 43, 0x31)                                                                          \
    X(caps_lock, 0x58, false, 0x14, 58, 0x39)                                                                          \
    X(a, 0x1C, false, 0x1C, 30, 0x04)                                                                                  \
    X(s, 0x1B, false, 0x1B, 31, 0x16)                                                                                  \
    X(d, 0x23, false, 0x23, 32, 0x07)                                                                                  \
    X(f, 0x2B, false, 0x2B, 33, 0x09)                                                                                  \
    X(g, 0x34, false, 0x34, 34, 0x0A)                                                                                  \
    X(h, 0x33, false, 0x33, 35, 0x0B)                                                                                  \
    X(j, 0x3B, false, 0x3B, 36, 0x0D)                                                                                  \
    X(k, 0x42, false, 0x42, 37, 0x0E)                                                                                  \
    X(l, 0x4B, false, 0x4B, 38, 0x0F)                                                                                  \
    X(semicolon, 0x4C, false, 0x4C, 39, 0x33)                                                                          \
    X(apostrophe, 0x52, false, 0x52, 40, 0x34)                                                                         \
    X(enter, 0x5A, false, 0x5A, 28, 0x28)                                                                              \
    X(shift_left, 0x12, false, 0x12, 42, 0xE1)                                                                         \
    X(iso, 0x61, false, 0x13, 86, 0x64)                                                                                \
    X(z, 0x1A, false, 0x1A, 44, 0x1D)                                                                                  \
    X(x, 0x22, false, 0x22, 45, 0x1B)                                                                                  \
    X(c, 0x21, false, 0x21, 46, 0x06)                                                                                  \
    X(v, 0x2A, false, 0x2A, 47, 0x19)                                                                                  \
    X(b, 0x32, false, 0x32, 48, 0x05)                                                                                  \
    X(n, 0x31, false, 0x31, 49, 0x11)                                                                                  \
    X(m, 0x3A, false, 0x3A, 50, 0x10)                                                                                  \
    X(comma, 0x41, false, 0x41, 51, 0x36)                                                                              \
    X(period, 0x49, false, 0x49, 52, 0x37)                                                                             \
    X(slash, 0x4A, false, 0x4A, 53, 0x38)                                                                              \
    X(shift_right, 0x59, false, 0x59, 54, 0xE5)                                                                        \
    X(control_left, 0x14, false, 0x11, 29, 0xE0)                                                                       \
    X(meta_left, 0x1F, true, 0x8B, 125, 0xE3)                                                                          \
    X(alt_left, 0x11, false, 0x19, 56, 0xE2)                                                                           \
    X(space, 0x29, false, 0x29, 57, 0x2C)                                                                              \
    X(alt_right, 0x11, true, 0x39, 100, 0xE6)                                                                          \
    X(meta_right, 0x27, true, 0x8C, 126, 0xE7)                                                                         \
    X(menu, 0x2F, true, 0x8D, 127, 0x65)                                                                               \
    X(control_right, 0x14, true, 0x58, 97, 0xE4)                                                                       \
    X(print_screen, 0x7C, true, 0x57, 99, 0x46)                                                                        \
    X(scroll_lock, 0x7E, false, 0x5F, 70, 0x47)                                                                        \
    X(pause, 0x77, true, 0x62, 119, 0x48)                                                                              \
    X(insert, 0x70, true, 0x67, 110, 0x49)                                                                             \
    X(home, 0x6C, true, 0x6E, 102, 0x4A)                                                                               \
    X(page_up, 0x7D, true, 0x6F, 104, 0x4B)                                                                            \
    X(del, 0x71, true, 0x64, 111, 0x4C)                                                                                \
    X(end, 0x69, true, 0x65, 107, 0x4D)                                                                                \
    X(page_down, 0x7A, true, 0x6D, 109, 0x4E)                                                                          \
    X(up, 0x75, true, 0x63, 103, 0x52)                                                                                 \
    X(left, 0x6B, true, 0x61, 105, 0x50)                                                                               \
    X(down, 0x72, true, 0x60, 108, 0x51)                                                                               \
    X(right, 0x74, true, 0x6A, 106, 0x4F)                                                                              \
    X(num_lock, 0x77, false, 0x76, 69, 0x53)                                                                           \
    X(pad_slash, 0x4A, true, 0x77, 98, 0x54)                                                                           \
    X(pad_asterisk, 0x7C, false, 0x7E, 55, 0x55)                                                                       \
    X(pad_minus, 0x7B, false, 0x84, 74, 0x56)                                                                          \
    X(pad_plus, 0x79, false, 0x7C, 78, 0x57)                                                                           \
    X(pad_enter, 0x5A, true, 0x79, 96, 0x58)                                                                           \
    X(pad_period, 0x71, false, 0x71, 83, 0x63)                                                                         \
    X(pad0, 0x70, false, 0x70, 82, 0x62)                                                                               \
    X(pad1, 0x69, false, 0x69, 79, 0x59)                                                                               \
    X(pad2, 0x72, false, 0x72, 80, 0x5A)                                                                               \
    X(pad3, 0x7A, false, 0x7A, 81, 0x5B)                                                                               \
    X(pad4, 0x6B, false, 0x6B, 75, 0x5C)                                                                               \
    X(pad5, 0x73, false, 0x73, 76, 0x5D)                                                                               \
    X(pad6, 0x74, false, 0x74, 77, 0x5E)                                                                               \
    X(pad7, 0x6C, false, 0x6C, 71, 0x5F)                                                                               \
    X(pad8, 0x75, false, 0x75, 72, 0x60)                                                                               \
    X(pad9, 0x7D, false, 0x7D, 73, 0x61)                                                                               \
    X(yen, 0x6A, false, 0x5D, 124, 0x89)                                                                               \
    X(ro, 0x51, false, 0x51, 89, 0x87)                                                                                 \
    X(henkan, 0x64, false, 0x86, 92, 0x8A)                                                                             \
    X(muhenkan, 0x67, false, 0x85, 94, 0x8B)                                                                           \
    X(katakana, 0x13, false, 0x87, 93, 0x88)                                                                           \
    X(power, 0x37, true, 0x00, 116, 0x66)                                                                              \
    X(sleep, 0x3F, true, 0x00, 142, 0x00)                                                                              \
    X(wake, 0x5E, true, 0x00, 143, 0x00)                                                                               \
    X(mute, 0x23, true, 0x00, 113, 0x7F)                                                                               \
    X(volume_down, 0x21, true, 0x00, 114, 0x81)                                                                        \
    X(volume_up, 0x32, true, 0x00, 115, 0x80)

enum class Key : u8 {
#define X(name, set2, extended, set3, event, usage) name,
    CALQUE_KEYS(X)
#undef X
        count
};

struct KeyCodes {
    std::string_view name;
    u8 set2;
    bool extended;
    u8 set3;  // 0: the key has no code in set 3.
    u8 event; // Linux's code.
    u8 usage; // 0: none on HID's keyboard page.
};

inline constexpr std::array<KeyCodes, static_cast<std::size_t>(Key::count)> key_codes{{
#define X(name, set2, extended, set3, event, usage) {#name, set2, extended, set3, event, usage},
    CALQUE_KEYS(X)
#undef X
}};

// What the keyboard controller makes of a set 2 byte other than the F0 prefix (PS/2 technical reference, 8042
// translation table).
u8 set2_to_set1(u8 code);

} // namespace calque::devices
