#include "frontend/console/keyboard.h"

#include <algorithm>

namespace calque::console {

using devices::Key;

std::optional<Key> key_at(unsigned scancode) {
    // What European keyboards have instead of the backslash, with the same code; SDL's own number for Sleep.
    constexpr unsigned non_us_hash = 0x32, sdl_sleep = 282;
    if (scancode == non_us_hash) return Key::backslash;
    if (scancode == sdl_sleep) return Key::sleep;
    if (scancode == 0) return std::nullopt;
    const auto found = std::find_if(devices::key_codes.begin(), devices::key_codes.end(),
                                    [&](const auto& codes) { return codes.usage == scancode; });
    if (found == devices::key_codes.end()) return std::nullopt;
    return static_cast<Key>(found - devices::key_codes.begin());
}

} // namespace calque::console
