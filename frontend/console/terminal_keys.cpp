#include "frontend/console/terminal_keys.h"

#include "frontend/console/sdl.h"

#include <array>

namespace calque::console {

namespace {
struct Sent {
    int key;
    const char* bytes;
};
// As Linux's console and xterm have them.
constexpr std::array sent{
    Sent{SDLK_RETURN, "\r"},    Sent{SDLK_KP_ENTER, "\r"},    Sent{SDLK_BACKSPACE, "\x7f"},
    Sent{SDLK_TAB, "\t"},       Sent{SDLK_ESCAPE, "\x1b"},    Sent{SDLK_UP, "\x1b[A"},
    Sent{SDLK_DOWN, "\x1b[B"},  Sent{SDLK_RIGHT, "\x1b[C"},   Sent{SDLK_LEFT, "\x1b[D"},
    Sent{SDLK_HOME, "\x1b[1~"}, Sent{SDLK_INSERT, "\x1b[2~"}, Sent{SDLK_DELETE, "\x1b[3~"},
    Sent{SDLK_END, "\x1b[4~"},  Sent{SDLK_PAGEUP, "\x1b[5~"}, Sent{SDLK_PAGEDOWN, "\x1b[6~"},
    Sent{SDLK_F1, "\x1b[[A"},   Sent{SDLK_F2, "\x1b[[B"},     Sent{SDLK_F3, "\x1b[[C"},
    Sent{SDLK_F4, "\x1b[[D"},   Sent{SDLK_F5, "\x1b[[E"},     Sent{SDLK_F6, "\x1b[17~"},
    Sent{SDLK_F7, "\x1b[18~"},  Sent{SDLK_F8, "\x1b[19~"},    Sent{SDLK_F9, "\x1b[20~"},
    Sent{SDLK_F10, "\x1b[21~"}, Sent{SDLK_F11, "\x1b[23~"},   Sent{SDLK_F12, "\x1b[24~"},
};
} // namespace

std::string terminal_bytes(int key, unsigned modifiers) {
    for (const Sent& entry : sent)
        if (entry.key == key) return entry.bytes;
    if (!(modifiers & KMOD_CTRL) || key > 0x7F) return {};
    if (key == SDLK_SPACE) return std::string(1, '\0');
    if ((key >= 'a' && key <= 'z') || (key >= '[' && key <= '_') || key == '@')
        return std::string(1, static_cast<char>(key & 0x1F));
    return {};
}

} // namespace calque::console
