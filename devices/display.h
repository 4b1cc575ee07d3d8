// What a display adapter shows, for windows, remote screens and screenshots.
#pragma once

#include "base/types.h"

#include <optional>
#include <string>
#include <vector>

namespace calque::devices {

// Pixels as a monitor shows them: 00RRGGBB, row by row from the top.
struct Surface {
    u32 width = 0, height = 0;
    std::vector<u32> pixels;

    // Black, when the size is another one.
    void resize(u32 new_width, u32 new_height) {
        if (new_width == width && new_height == height) return;
        width = new_width;
        height = new_height;
        pixels.assign(std::size_t{width} * height, 0);
    }
    u32* row(u32 y) { return pixels.data() + std::size_t{y} * width; }
    const u32* row(u32 y) const { return pixels.data() + std::size_t{y} * width; }
};

class Display {
  public:
    virtual ~Display() = default;
    // The whole screen as it is now, with everything shown that blinks. Any thread.
    virtual void take_picture(Surface& surface) = 0;

    // The rows that update() drew: none when `first` is not below `end`.
    struct Damage {
        bool resized = false;
        u32 first = 0, end = 0;
    };
    // Brings the surface, which was this call's last time, up to date. From the first call to stop_updates() the device
    // notes what is written, so that a screen that nobody writes to costs nothing. One thread at a time.
    virtual Damage update(Surface& surface) = 0;
    virtual void stop_updates() = 0;

    // The characters of a text mode, a line of code page 437 for each row; nothing in a graphics mode.
    virtual std::optional<std::vector<std::string>> text() = 0;
};

} // namespace calque::devices
