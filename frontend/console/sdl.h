// SDL2's functions, taken from its library when somebody wants a window: without one the library need not be there.
#pragma once

#include "base/result.h"

#define SDL_MAIN_HANDLED
#include <SDL2/SDL.h>

namespace calque::console {

#define CALQUE_SDL_FUNCTIONS(X)                                                                                        \
    X(CreateRenderer)                                                                                                  \
    X(CreateTexture)                                                                                                   \
    X(CreateWindow)                                                                                                    \
    X(DestroyRenderer)                                                                                                 \
    X(DestroyTexture)                                                                                                  \
    X(DestroyWindow)                                                                                                   \
    X(GetClipboardText)                                                                                                \
    X(GetCurrentVideoDriver)                                                                                           \
    X(GetDesktopDisplayMode)                                                                                           \
    X(GetDisplayUsableBounds)                                                                                          \
    X(GetError)                                                                                                        \
    X(GetRendererOutputSize)                                                                                           \
    X(GetTicks64)                                                                                                      \
    X(GetWindowFlags)                                                                                                  \
    X(GetWindowPosition)                                                                                               \
    X(GetWindowSize)                                                                                                   \
    X(GetWindowSurface)                                                                                                \
    X(InitSubSystem)                                                                                                   \
    X(ConvertPixels)                                                                                                   \
    X(PollEvent)                                                                                                       \
    X(PushEvent)                                                                                                       \
    X(QuitSubSystem)                                                                                                   \
    X(RegisterEvents)                                                                                                  \
    X(RenderCopy)                                                                                                      \
    X(RenderPresent)                                                                                                   \
    X(SetHint)                                                                                                         \
    X(SetRelativeMouseMode)                                                                                            \
    X(SetWindowFullscreen)                                                                                             \
    X(SetWindowKeyboardGrab)                                                                                           \
    X(SetWindowPosition)                                                                                               \
    X(SetWindowSize)                                                                                                   \
    X(SetWindowTitle)                                                                                                  \
    X(ShowCursor)                                                                                                      \
    X(StartTextInput)                                                                                                  \
    X(StopTextInput)                                                                                                   \
    X(UpdateTexture)                                                                                                   \
    X(UpdateWindowSurfaceRects)                                                                                        \
    X(WaitEventTimeout)                                                                                                \
    X(free)

// By their names without the prefix: sdl.CreateWindow(...).
struct Sdl {
#define X(name) decltype(&SDL_##name) name = nullptr;
    CALQUE_SDL_FUNCTIONS(X)
#undef X

    // Loads the library and connects to the display. The main thread's, once.
    static Result<Sdl> start();
};

} // namespace calque::console
