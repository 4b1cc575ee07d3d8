// Where the pixels of a window are drawn, and how they come to the display.
#pragma once

#include "frontend/console/scaler.h"
#include "frontend/console/sdl.h"

#include <memory>
#include <span>

namespace calque::console {

class WindowTarget {
  public:
    virtual ~WindowTarget() = default;
    // As large as the window is, in the display's own dots. It keeps what was drawn while its size is the same. Without
    // pixels: nothing can be drawn now. Valid until the window's next event.
    virtual Canvas canvas() = 0;
    virtual void show(std::span<const SDL_Rect> changed) = 0;

    // By the way that suits the display. The window must outlive it. Fails where nothing can be drawn.
    static Result<std::unique_ptr<WindowTarget>> make(const Sdl& sdl, SDL_Window* window);
};

} // namespace calque::console
