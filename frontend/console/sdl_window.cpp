#include "frontend/console/sdl_window.h"

#include "frontend/console/status_line.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>

namespace calque::console {

namespace {
// Milliseconds between looks at the page: while it moves, and when nothing has changed for a while.
constexpr u64 frame = 16, idle_frame = 50, hidden_frame = 500, idle_after = 150, notice_time = 4000;
constexpr u64 cursor_half_period = 266;
constexpr u8 status_attribute = 0x70, alert_attribute = 0x4F;
constexpr u32 status_height = Font::height;

// CPU time of the calling thread, in nanoseconds.
u64 thread_time() {
    std::timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}
} // namespace

SdlWindow::SdlWindow(const Sdl& sdl, machine::Machine& machine, std::vector<ConsolePlace> consoles,
                     const WindowOptions& options, GuestInput::TryInput try_input, const Font& font,
                     const Layout& layout)
    : sdl_(sdl), machine_(machine), options_(options), font_(font), input_(machine, std::move(try_input), layout),
      status_line_(options.status_line) {
    for (ConsolePlace& place : consoles)
        consoles_.push_back(std::make_unique<Console>(std::move(place), font_));
    if (!display() && !consoles_.empty()) page_ = 1;
}

SdlWindow::~SdlWindow() {
    if (display()) display()->stop_updates();
    target_.reset();
    if (window_) sdl_.DestroyWindow(window_);
}

Result<void> SdlWindow::create() {
    constexpr int width = 720, height = 400;
    wake_event_ = sdl_.RegisterEvents(1);
    window_ = sdl_.CreateWindow("Calque", SDL_WINDOWPOS_UNDEFINED, SDL_WINDOWPOS_UNDEFINED, width, height,
                                SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
    if (!window_) return error("the display gives no window ({}); use -nographic", sdl_.GetError());
    auto target = WindowTarget::make(sdl_, window_);
    if (!target) return target.error();
    target_ = std::move(*target);
    set_width_ = width;
    set_height_ = height;
    if (page_ == 0) sdl_.StopTextInput();
    if (options_.full_screen) act(Action::full_screen);
    return {};
}

devices::Display* SdlWindow::display() const {
    const auto& displays = machine_.chipset().displays();
    return displays.empty() ? nullptr : displays.front();
}

void SdlWindow::end() {
    ended_ = true;
    SDL_Event event{};
    event.type = wake_event_;
    sdl_.PushEvent(&event);
}

void SdlWindow::run() {
    while (!ended_) {
        const u64 now = sdl_.GetTicks64();
        const bool busy = !input_.flush();
        const u64 due = busy ? now + 4 : next_frame_;
        SDL_Event event;
        if (sdl_.WaitEventTimeout(&event, static_cast<int>(due > now ? due - now : 1))) do
                handle(event);
            while (!ended_ && sdl_.PollEvent(&event));
        tick();
    }
    set_grab(false);
}

void SdlWindow::tick() {
    const u64 now = sdl_.GetTicks64();
    if (now < next_frame_) return;
    feed_consoles();
    follow_pointer();
    update_title();
    update_status(now);
    if (hidden_) {
        next_frame_ = now + hidden_frame;
        return;
    }
    const u64 begun = thread_time();
    const auto damage = update_page();
    if (damage.first < damage.end || damage.resized) active_until_ = now + idle_after;
    present(damage);
    if (on_guest()) count(now, damage, thread_time() - begun);
    next_frame_ = now + (now < active_until_ ? frame : idle_frame);
}

void SdlWindow::count(u64 now, devices::Display::Damage damage, u64 nanoseconds) {
    const u64 passed = now - std::exchange(counted_at_, now);
    const auto add = [&](Counts& counts) {
        counts.milliseconds += passed;
        counts.pictures += damage.first < damage.end;
        counts.rows += damage.end - std::min(damage.first, damage.end);
        counts.nanoseconds += nanoseconds;
    };
    add(all_);
    if (input_.holds_button()) add(dragging_);
}

std::string SdlWindow::stats() const {
    const auto line = [](std::string_view when, const Counts& counts) {
        return fmt::format("window{}: {:.1f} s, {} pictures, {} rows, {:.1f} ms of CPU time\n", when,
                           static_cast<double>(counts.milliseconds) / 1e3, counts.pictures, counts.rows,
                           static_cast<double>(counts.nanoseconds) / 1e6);
    };
    return line("", all_) + line(" while a button was held", dragging_);
}

void SdlWindow::feed_consoles() {
    for (auto& console : consoles_) {
        const auto bytes = console->place.backend->take_output();
        const std::string answer = console->terminal.write(bytes);
        if (!answer.empty()) console->place.backend->type({reinterpret_cast<const u8*>(answer.data()), answer.size()});
    }
}

devices::Display::Damage SdlWindow::update_page() {
    if (on_guest() && display()) return display()->update(surface_);
    if (Console* const shown = console())
        return shown->picture.update(shown->terminal, sdl_.GetTicks64() / cursor_half_period % 2 == 0, surface_);
    if (!drawn_anew_) return {};
    // The help, or what stands for a screen that is not there.
    std::vector<std::string> names{"the guest's screen"};
    for (const auto& console : consoles_)
        names.push_back(console->place.name);
    Terminal page;
    const std::string text = help_ ? help_text(names) : "This machine has no screen (-vga none).\nCtrl-Alt-H: help";
    std::string lines;
    for (const char c : text)
        lines += c == '\n' ? std::string("\r\n") : std::string(1, c);
    lines += "\x1b[?25l";
    page.write({reinterpret_cast<const u8*>(lines.data()), lines.size()});
    return TerminalPicture(font_).update(page, false, surface_);
}

void SdlWindow::present(devices::Display::Damage damage) {
    if (damage.resized && on_guest()) fit_window();
    const Canvas canvas = target_->canvas();
    if (!canvas.pixels || surface_.width == 0) return;
    const u32 width = canvas.width, height = canvas.height;
    const int wide = static_cast<int>(width), high = static_cast<int>(height);
    const u32 bar = status_line_ && height > 2 * status_height ? status_height : 0;
    Canvas page = canvas;
    page.height -= bar;
    const Rect where = place(surface_.width, surface_.height, page.width, page.height, scaling_);
    std::vector<SDL_Rect> changed;
    if (drawn_anew_ || where != where_ || width != canvas_width_ || height != canvas_height_) {
        drawn_anew_ = false;
        where_ = where;
        canvas_width_ = width;
        canvas_height_ = height;
        clear_around(page, where);
        draw_scaled(surface_, 0, surface_.height, page, where);
        drawn_status_.clear();
        draw_status_line(canvas);
        changed.push_back({0, 0, wide, high});
    } else {
        const Rect rect = draw_scaled(surface_, damage.first, damage.end, page, where);
        if (rect.width > 0 && rect.height > 0) changed.push_back({rect.x, rect.y, rect.width, rect.height});
        if (draw_status_line(canvas)) changed.push_back({0, high - static_cast<int>(bar), wide, static_cast<int>(bar)});
    }
    if (!changed.empty()) target_->show(changed);
}

// As large as the guest's screen, where there is so much room, unless somebody has given the window another size.
void SdlWindow::fit_window() {
    if (!own_size_ || (sdl_.GetWindowFlags(window_) & (SDL_WINDOW_FULLSCREEN | SDL_WINDOW_MAXIMIZED))) return;
    int width = 0, height = 0;
    sdl_.GetWindowSize(window_, &width, &height);
    const u32 dots = target_->canvas().width;
    if (dots == 0 || width <= 0 || surface_.width == 0) return;
    const double density = static_cast<double>(dots) / width; // Of high-DPI displays: dots to a unit.
    double wanted_width = surface_.width / density;
    double wanted_height = (surface_.height + (status_line_ ? status_height : 0)) / density;
    SDL_Rect room{};
    if (sdl_.GetDisplayUsableBounds(0, &room) == 0 && room.w > 0 && room.h > 0) {
        const double shrink = std::min({1.0, room.w / wanted_width, room.h / wanted_height});
        wanted_width *= shrink;
        wanted_height *= shrink;
    }
    set_width_ = std::max(1, static_cast<int>(std::lround(wanted_width)));
    set_height_ = std::max(1, static_cast<int>(std::lround(wanted_height)));
    if (set_width_ == width && set_height_ == height) return;
    sdl_.SetWindowSize(window_, set_width_, set_height_);
    int x = 0, y = 0;
    sdl_.GetWindowPosition(window_, &x, &y);
    if (room.w > 0 && (x + set_width_ > room.x + room.w || y + set_height_ > room.y + room.h))
        sdl_.SetWindowPosition(window_, SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED);
}

void SdlWindow::say(std::string notice) {
    notice_ = std::move(notice);
    notice_until_ = sdl_.GetTicks64() + notice_time;
    next_frame_ = 0;
}

void SdlWindow::update_title() {
    std::string title = "Calque";
    if (!machine_.config().name.empty()) title += " [" + machine_.config().name + "]";
    if (page_ > 0) title += " " + consoles_[page_ - 1]->place.name;
    if (close_asked_)
        title += " - powering down; close again to end";
    else if (!machine_.running())
        title += " - stopped";
    if (!notice_.empty() && sdl_.GetTicks64() >= notice_until_) notice_.clear();
    title += !notice_.empty() ? " - " + notice_
             : grabbed_       ? " - Ctrl-Alt-G releases keyboard and mouse"
                              : " - Ctrl-Alt-H shows help";
    if (title == title_) return;
    title_ = title;
    sdl_.SetWindowTitle(window_, title_.c_str());
}

void SdlWindow::update_status(u64 now) {
    if (!status_line_ || now < next_status_) return;
    constexpr u64 period = 500;
    next_status_ = now + period;
    constexpr u64 millisecond = 1'000'000;
    const auto activity = activity_.look(std::max<u64>(1, now - std::exchange(last_status_, now)) * millisecond);
    status_ =
        status_text(machine_.running(), surface_.width, surface_.height, activity, machine_.chipset().inputs().leds());
}

// At the bottom of the canvas. True when it was drawn anew.
bool SdlWindow::draw_status_line(const Canvas& canvas) {
    const std::string wanted = !notice_.empty() ? " " + notice_ : status_;
    if (!status_line_ || canvas.height <= 2 * status_height || wanted == drawn_status_) return false;
    drawn_status_ = wanted;
    devices::Surface line;
    line.resize(canvas.width, status_height);
    draw_line(font_, wanted, machine_.running() ? status_attribute : alert_attribute, line, 0);
    for (u32 y = 0; y < status_height; ++y)
        std::copy_n(line.row(y), canvas.width, canvas.pixels + (canvas.height - status_height + y) * canvas.pitch);
    return true;
}

// --- Opening

namespace {

class SdlDisplay final : public HostDisplay {
  public:
    explicit SdlDisplay(Sdl sdl) : sdl_(std::move(sdl)) {}
    ~SdlDisplay() override { sdl_.QuitSubSystem(SDL_INIT_VIDEO); }

    Result<std::unique_ptr<Window>> open(machine::Machine& machine, std::vector<ConsolePlace> consoles,
                                         const WindowOptions& options, GuestInput::TryInput try_input) override {
        const auto font = load_font(machine.config().firmware_folders);
        if (!font) return font.error();
        const Layout* const layout = find_layout(options.keyboard);
        if (!layout) return error("-k {}: there is no such layout; there are: {}", options.keyboard, layout_names());
        auto window = std::make_unique<SdlWindow>(sdl_, machine, std::move(consoles), options, std::move(try_input),
                                                  *font, *layout);
        if (auto created = window->create(); !created) return created.error();
        return std::unique_ptr<Window>(std::move(window));
    }

  private:
    Sdl sdl_;
};

} // namespace

bool display_is_named() {
    for (const char* name : {"DISPLAY", "WAYLAND_DISPLAY"})
        if (const char* value = std::getenv(name); value && *value) return true;
    return false;
}

Result<std::unique_ptr<HostDisplay>> connect_display() {
    auto sdl = Sdl::start();
    if (!sdl) return sdl.error();
    return std::unique_ptr<HostDisplay>(std::make_unique<SdlDisplay>(*sdl));
}

} // namespace calque::console
