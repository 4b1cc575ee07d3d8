// What a person does to the window.
#include "frontend/backends/screenshot.h"
#include "frontend/console/sdl_window.h"
#include "frontend/console/terminal_keys.h"
#include "frontend/machine/host_file.h"

#include <algorithm>
#include <ctime>

namespace calque::console {

using devices::Key;
using devices::MouseButton;

void SdlWindow::handle(const SDL_Event& event) {
    switch (event.type) {
    case SDL_QUIT: return close_asked();
    case SDL_WINDOWEVENT: return window_event(event.window);
    case SDL_KEYDOWN:
    case SDL_KEYUP: return key_event(event.key);
    case SDL_TEXTINPUT:
        if (console()) type(event.text.text);
        return;
    case SDL_MOUSEMOTION:
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP:
    case SDL_MOUSEWHEEL: return mouse_event(event);
    default: return;
    }
}

void SdlWindow::window_event(const SDL_WindowEvent& event) {
    switch (event.event) {
    case SDL_WINDOWEVENT_FOCUS_LOST: // What is let go of from now on is not seen.
        input_.keys().release_all();
        input_.release_buttons();
        set_grab(false);
        break;
    case SDL_WINDOWEVENT_SIZE_CHANGED: {
        int width = 0, height = 0; // As it is by now.
        sdl_.GetWindowSize(window_, &width, &height);
        drawn_anew_ = true;
        if (sdl_.GetWindowFlags(window_) & SDL_WINDOW_FULLSCREEN) {
            full_width_ = width;
            full_height_ = height;
        } else if ((width != full_width_ || height != full_height_) // What was on its way when full screen ended.
                   && (width != set_width_ || height != set_height_)) {
            own_size_ = false;
        }
        break;
    }
    case SDL_WINDOWEVENT_EXPOSED: drawn_anew_ = true; break;
    case SDL_WINDOWEVENT_HIDDEN:
    case SDL_WINDOWEVENT_MINIMIZED:
        hidden_ = true;
        if (display()) display()->stop_updates();
        break;
    case SDL_WINDOWEVENT_SHOWN:
    case SDL_WINDOWEVENT_RESTORED:
    case SDL_WINDOWEVENT_MAXIMIZED:
        hidden_ = false;
        drawn_anew_ = true;
        break;
    default: return;
    }
    next_frame_ = 0;
}

void SdlWindow::key_event(const SDL_KeyboardEvent& event) {
    const unsigned scancode = event.keysym.scancode, modifiers = event.keysym.mod;
    const bool pressed = event.type == SDL_KEYDOWN;
    if (pressed && (modifiers & KMOD_CTRL) && (modifiers & KMOD_LALT) && !(modifiers & KMOD_SHIFT)) {
        const auto action = action_of(scancode);
        const auto page = console_of(scancode);
        if (action || page) {
            input_.keys().release_all(); // The guest has seen Ctrl and Alt.
            if (event.repeat) return;
            if (action) return act(*action);
            return show_page(*page);
        }
    }
    if (help_) {
        if (pressed && !event.repeat && scancode < SDL_SCANCODE_LCTRL) set_help(false);
        return;
    }
    next_frame_ = std::min(next_frame_, sdl_.GetTicks64() + 4); // Something may answer.
    active_until_ = sdl_.GetTicks64() + 500;
    if (Console* const shown = console()) {
        if (!pressed) return;
        constexpr i32 half_a_page = static_cast<i32>(Terminal::rows / 2);
        const bool shift = modifiers & KMOD_SHIFT;
        if (shift && event.keysym.sym == SDLK_PAGEUP) return shown->terminal.scroll_view(half_a_page);
        if (shift && event.keysym.sym == SDLK_PAGEDOWN) return shown->terminal.scroll_view(-half_a_page);
        return type(terminal_bytes(event.keysym.sym, modifiers));
    }
    if (event.repeat) return; // The guest's keyboard repeats by itself.
    const auto key = key_at(scancode);
    if (!key) return;
    if (pressed && scancode < SDL_SCANCODE_LCTRL) input_.stop_pasting(); // Somebody types instead.
    if (pressed)
        input_.keys().press(*key);
    else
        input_.keys().release(*key);
}

void SdlWindow::mouse_event(const SDL_Event& event) {
    if (Console* const shown = console()) {
        constexpr i32 lines = 3;
        if (event.type == SDL_MOUSEWHEEL) shown->terminal.scroll_view(event.wheel.y * lines);
        return;
    }
    if (!on_guest() || !display()) return;
    follow_pointer();
    if (!places_ && !grabbed_) {
        if (event.type == SDL_MOUSEBUTTONDOWN && event.button.button == SDL_BUTTON_LEFT) set_grab(true);
        return;
    }
    if (event.type == SDL_MOUSEWHEEL) return input_.scroll(event.wheel.y);
    if (event.type == SDL_MOUSEMOTION) {
        if (places_) return point_at(event.motion.x, event.motion.y);
        return input_.move(event.motion.xrel, event.motion.yrel);
    }
    if (places_) {
        point_at(event.button.x, event.button.y);
        if (!pointer_inside_ && event.type == SDL_MOUSEBUTTONDOWN) return;
    }
    constexpr std::array buttons{MouseButton::left, MouseButton::middle, MouseButton::right, MouseButton::side,
                                 MouseButton::extra};
    const unsigned index = event.button.button - 1u;
    if (index < buttons.size()) input_.button(buttons[index], event.type == SDL_MOUSEBUTTONDOWN);
}

// The guest's driver of a tablet may begin or end at any time.
void SdlWindow::follow_pointer() {
    const bool places = on_guest() && display() && input_.takes_places();
    if (places == places_) return;
    places_ = places;
    sdl_.SetRelativeMouseMode(grabbed_ && !places_ ? SDL_TRUE : SDL_FALSE);
    show_pointer();
}

// The guest draws a pointer of its own, where there is no other above it.
void SdlWindow::show_pointer() {
    const bool guests = places_ ? pointer_inside_ : grabbed_;
    sdl_.ShowCursor(guests && !options_.show_cursor ? SDL_DISABLE : SDL_ENABLE);
}

// Of a tablet: in the window's units. Beside the guest's screen the pointer goes along its edge.
void SdlWindow::point_at(i32 x, i32 y) {
    int width = 0, height = 0;
    sdl_.GetWindowSize(window_, &width, &height);
    if (width <= 0 || height <= 0 || where_.width <= 0 || where_.height <= 0) return;
    const i64 right = i64{x} * canvas_width_ / width - where_.x, down = i64{y} * canvas_height_ / height - where_.y;
    const auto on = [](i64 at, i32 size) { return static_cast<u32>(std::clamp<i64>(at, 0, size - 1)); };
    const bool inside = right >= 0 && down >= 0 && right < where_.width && down < where_.height;
    if (std::exchange(pointer_inside_, inside) != inside) show_pointer();
    input_.place(on(right, where_.width), on(down, where_.height), static_cast<u32>(where_.width),
                 static_cast<u32>(where_.height));
}

void SdlWindow::act(Action action) {
    next_frame_ = 0;
    switch (action) {
    case Action::help: return set_help(!help_);
    case Action::grab: return set_grab(!grabbed_);
    case Action::full_screen: {
        const bool full = sdl_.GetWindowFlags(window_) & SDL_WINDOW_FULLSCREEN;
        sdl_.SetWindowFullscreen(window_, full ? 0 : SDL_WINDOW_FULLSCREEN_DESKTOP);
        drawn_anew_ = true;
        return full ? fit_window() : set_grab(true);
    }
    case Action::own_size: own_size_ = true; return fit_window();
    case Action::scaling:
        scaling_ = scaling_ == Scaling::whole ? Scaling::smooth : Scaling::whole;
        drawn_anew_ = true;
        return say(scaling_ == Scaling::whole ? "scaled by whole numbers" : "scaled smoothly");
    case Action::status_line:
        status_line_ = !status_line_;
        next_status_ = 0;
        drawn_anew_ = true;
        return fit_window();
    case Action::pause:
        if (machine_.running())
            machine_.request_pause();
        else
            machine_.request_resume();
        return;
    case Action::reset: return machine_.request_reset();
    case Action::power_button: return machine_.request_power_button();
    case Action::ctrl_alt_delete: return input_.press_together({Key::control_left, Key::alt_left, Key::del});
    case Action::paste: return paste();
    case Action::screenshot: return screenshot();
    case Action::quit: return machine_.request_quit(0, machine::Cause::host_window);
    }
}

void SdlWindow::show_page(unsigned page) {
    if (page > consoles_.size()) return;
    if (page == 0 && !display() && !consoles_.empty()) return say("this machine has no screen");
    help_ = false;
    page_ = page;
    set_grab(grabbed_ && page == 0);
    if (page != 0) {
        if (display()) display()->stop_updates();
        sdl_.StartTextInput();
        consoles_[page - 1]->picture = TerminalPicture(font_);
    } else {
        sdl_.StopTextInput();
    }
    surface_ = {};
    drawn_anew_ = true;
    next_frame_ = 0;
}

void SdlWindow::set_help(bool on) {
    if (!on) return show_page(page_);
    set_grab(false);
    if (display()) display()->stop_updates();
    help_ = true;
    surface_ = {};
    drawn_anew_ = true;
    next_frame_ = 0;
}

void SdlWindow::set_grab(bool on) {
    if (on == grabbed_ || (on && (!on_guest() || !display()))) return;
    grabbed_ = on;
    if (!on) input_.release_buttons();
    sdl_.SetWindowKeyboardGrab(window_, on ? SDL_TRUE : SDL_FALSE);
    sdl_.SetRelativeMouseMode(on && !places_ ? SDL_TRUE : SDL_FALSE);
    show_pointer();
    next_frame_ = 0;
}

// A guest that listens powers down; one that does not is ended by asking again.
void SdlWindow::close_asked() {
    if (!options_.window_close) return say("closing is off; Ctrl-Alt-Q ends the emulator");
    if (std::exchange(close_asked_, true)) return machine_.request_quit(0, machine::Cause::host_window);
    if (!machine_.running()) machine_.request_resume();
    machine_.request_power_button();
    next_frame_ = 0;
}

void SdlWindow::screenshot() {
    if (!display()) return say("this machine has no screen");
    devices::Surface picture;
    display()->take_picture(picture);
    const auto image = backends::encode_png(picture);
    if (!image) return say(image.error().message);
    const std::time_t now = std::time(nullptr);
    std::tm when{};
    localtime_r(&now, &when);
    char name[64];
    std::strftime(name, sizeof name, "calque-%Y%m%d-%H%M%S.png", &when);
    const auto written = machine::write_host_file(name, *image);
    say(written ? fmt::format("written: {}", name) : written.error().message);
}

void SdlWindow::paste() {
    char* const text = sdl_.GetClipboardText();
    if (!text) return;
    if (Console* const shown = console()) {
        std::string bytes = text;
        std::replace(bytes.begin(), bytes.end(), '\n', '\r');
        shown->place.backend->type({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
    } else {
        std::string left_out = describe(input_.paste(text), options_.keyboard);
        if (!left_out.empty()) say(std::move(left_out));
    }
    sdl_.free(text);
}

void SdlWindow::type(std::string_view bytes) {
    if (Console* const shown = console(); shown && !bytes.empty())
        shown->place.backend->type({reinterpret_cast<const u8*>(bytes.data()), bytes.size()});
}

} // namespace calque::console
