// A screen's pixels in a window of another size. Pure.
#pragma once

#include "devices/display.h"

namespace calque::console {

struct Rect {
    i32 x = 0, y = 0, width = 0, height = 0;
    bool operator==(const Rect&) const = default;
};

// Where pixels go: `pitch` of them from one row to the next.
struct Canvas {
    u32* pixels = nullptr;
    std::size_t pitch = 0;
    u32 width = 0, height = 0;
};

enum class Scaling : u8 {
    whole,  // By a whole number, where it fits at all.
    smooth, // As large as fits, with its proportions kept.
};

// Where on a canvas the picture stands: in the middle.
Rect place(u32 width, u32 height, u32 canvas_width, u32 canvas_height, Scaling scaling);
// Draws the rows from `first` to before `end`. The part of the canvas that changed. `where` lies within the canvas.
Rect draw_scaled(const devices::Surface& picture, u32 first, u32 end, const Canvas& canvas, const Rect& where);
// Everything around `where` black.
void clear_around(const Canvas& canvas, const Rect& where);

} // namespace calque::console
