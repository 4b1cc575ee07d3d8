// The window by SDL2.
#pragma once

#include "frontend/console/font.h"
#include "frontend/console/guest_input.h"
#include "frontend/console/hotkeys.h"
#include "frontend/console/scaler.h"
#include "frontend/console/sdl.h"
#include "frontend/console/terminal.h"
#include "frontend/console/terminal_picture.h"
#include "frontend/console/window.h"
#include "frontend/console/window_target.h"
#include "frontend/machine/activity.h"

#include <atomic>

namespace calque::console {

// Nothing is drawn that has not changed: the page on show says which rows have, and only those go to the display.
class SdlWindow final : public Window {
  public:
    SdlWindow(const Sdl& sdl, machine::Machine& machine, std::vector<ConsolePlace> consoles,
              const WindowOptions& options, GuestInput::TryInput try_input, const Font& font, const Layout& layout);
    ~SdlWindow() override;
    Result<void> create();

    void run() override;
    void end() override;
    std::string stats() const override;

  private:
    struct Console {
        Console(ConsolePlace console_place, const Font& font) : place(std::move(console_place)), picture(font) {}
        ConsolePlace place;
        Terminal terminal;
        TerminalPicture picture;
    };
    // What the window shows: the guest's screen is page 0, then the consoles.
    bool on_guest() const { return page_ == 0 && !help_; }
    Console* console() { return page_ == 0 || help_ ? nullptr : consoles_[page_ - 1].get(); }
    devices::Display* display() const;

    // Events (window_events.cpp).
    void handle(const SDL_Event& event);
    void window_event(const SDL_WindowEvent& event);
    void key_event(const SDL_KeyboardEvent& event);
    void mouse_event(const SDL_Event& event);
    void follow_pointer();
    void show_pointer();
    void point_at(i32 x, i32 y);
    void act(Action action);
    void show_page(unsigned page);
    void set_help(bool on);
    void set_grab(bool on);
    void close_asked();
    void screenshot();
    void paste();
    void type(std::string_view bytes);

    // Drawing (sdl_window.cpp).
    void tick();
    void count(u64 now, devices::Display::Damage damage, u64 nanoseconds);
    void feed_consoles();
    devices::Display::Damage update_page();
    void present(devices::Display::Damage damage);
    void fit_window();
    void update_title();
    void update_status(u64 now);
    bool draw_status_line(const Canvas& canvas);
    void say(std::string notice);

    const Sdl& sdl_;
    machine::Machine& machine_;
    const WindowOptions options_;
    const Font font_;
    GuestInput input_;
    std::vector<std::unique_ptr<Console>> consoles_;
    SDL_Window* window_ = nullptr;
    std::unique_ptr<WindowTarget> target_; // Of the window.
    std::atomic<bool> ended_{false};
    u32 wake_event_ = 0;

    devices::Surface surface_; // Of the page on show.
    unsigned page_ = 0;
    bool help_ = false, drawn_anew_ = true; // The whole window has to be drawn.
    bool hidden_ = false, grabbed_ = false, close_asked_ = false;
    bool places_ = false, pointer_inside_ = false; // The pointer is a tablet's; it is on the guest's screen.
    bool own_size_ = true;                         // The window has the guest's size: nobody has given it another.
    i32 set_width_ = 0, set_height_ = 0;
    i32 full_width_ = 0, full_height_ = 0; // That it had on the whole screen; 0: never.
    Scaling scaling_ = Scaling::smooth;
    Rect where_;
    u32 canvas_width_ = 0, canvas_height_ = 0;
    u64 next_frame_ = 0, active_until_ = 0; // In SDL's milliseconds.

    // Of the guest's screen: pictures with something new, what was drawn for them, and this thread's CPU time.
    struct Counts {
        u64 milliseconds = 0, pictures = 0, rows = 0, nanoseconds = 0;
    };
    Counts all_, dragging_;
    u64 counted_at_ = 0;

    std::string title_, notice_;
    u64 notice_until_ = 0;
    bool status_line_ = false;
    std::string status_, drawn_status_;
    u64 next_status_ = 0, last_status_ = 0;
    machine::ActivityMeter activity_{machine_};
};

} // namespace calque::console
