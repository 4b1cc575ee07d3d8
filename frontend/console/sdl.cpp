#include "frontend/console/sdl.h"

#include <cstdlib>
#include <dlfcn.h>
#include <string_view>

namespace calque::console {

Result<Sdl> Sdl::start() {
    // Never closed: its threads may be about.
    void* const library = ::dlopen("libSDL2-2.0.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return error(
            "a window needs SDL2, which is not here; install Debian's package libsdl2-2.0-0, or use -nographic");
    Sdl sdl;
#define X(name)                                                                                                        \
    sdl.name = reinterpret_cast<decltype(&SDL_##name)>(::dlsym(library, "SDL_" #name));                                \
    if (!sdl.name) return error("SDL2 has no SDL_" #name ": it is older than 2.0.18; use -nographic");
    CALQUE_SDL_FUNCTIONS(X)
#undef X
    sdl.SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    sdl.SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    sdl.SetHint(SDL_HINT_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR, "0");
    sdl.SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0"); // What is drawn is in memory already.
    sdl.SetHint(SDL_HINT_GRAB_KEYBOARD, "1");
    sdl.SetHint(SDL_HINT_APP_NAME, "calque");
    if (sdl.InitSubSystem(SDL_INIT_VIDEO) != 0)
        return error("there is no display for a window ({}); set DISPLAY or WAYLAND_DISPLAY, or use -nographic",
                     sdl.GetError());
    // SDL would rather draw where nobody sees it than fail.
    const std::string_view driver = sdl.GetCurrentVideoDriver();
    if ((driver == "offscreen" || driver == "dummy" || driver == "evdev") && !std::getenv("SDL_VIDEODRIVER")) {
        sdl.QuitSubSystem(SDL_INIT_VIDEO);
        return error(
            "the display that DISPLAY or WAYLAND_DISPLAY names does not answer; is it there, and may this user "
            "use it? -nographic needs none");
    }
    return sdl;
}

} // namespace calque::console
