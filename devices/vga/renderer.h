// From registers and video memory to pixels. Pure: the same picture always gives the same surface.
#pragma once

#include "devices/display.h"
#include "devices/vga/registers.h"

#include <span>
#include <vector>

namespace calque::devices::vga {

// What of the things that blink is visible.
struct Blink {
    bool cursor = true;
    bool characters = true;
    bool operator==(const Blink&) const = default;
};
// The cursor is on for 8 frames of 16, blinking characters for 16 of 32 (at 60 a second).
Blink blink_at(u64 nanoseconds);

struct Picture {
    const Registers& registers;
    std::span<const u8> memory;
    Blink blink;
};

// What a monitor would show, dot by dot and line by line; the surface gets that size.
Display::Damage render_all(const Picture& picture, Surface& surface);
// The same for a surface that shows this picture as it was, of whose memory the pages in `written` (4 KiB each) may
// have changed, and what blinks has if `blinked`.
Display::Damage render_written(const Picture& picture, const std::vector<bool>& written, bool blinked,
                               Surface& surface);

} // namespace calque::devices::vga
