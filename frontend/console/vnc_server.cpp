#include "frontend/console/vnc_server.h"

#include "frontend/console/vnc_keyboard.h"
#include "frontend/console/vnc_password.h"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <ctime>
#include <map>
#include <mutex>
#include <rfb/rfb.h>
#include <thread>

namespace calque::console {

namespace {

// Milliseconds between looks at the guest's screen while it moves, while it does not, and at the network when nobody
// is there; how long a viewer that does not read holds up the others.
constexpr long frame = 33, idle_frame = 100, nobody = 200;
constexpr unsigned idle_after = 10; // Looks.
constexpr int longest_wait = 5000;
constexpr std::size_t most_cut = 4 * GuestInput::most_pasted; // Bytes of a viewer's text that are kept.

using machine::NetworkPlace;

NetworkPlace place_of(const sockaddr_in& address) {
    char text[INET_ADDRSTRLEN] = {};
    ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    return {text, ntohs(address.sin_port)};
}
NetworkPlace other_end(int socket) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
    return place_of(address);
}

std::string from_latin1(std::string_view text) {
    std::string utf8;
    for (const char c : text) {
        const u8 byte = static_cast<u8>(c);
        if (byte < 0x80) {
            utf8 += c;
        } else {
            utf8 += static_cast<char>(0xC0 | byte >> 6);
            utf8 += static_cast<char>(0x80 | (byte & 0x3F));
        }
    }
    return utf8;
}

class Server final : public VncServer {
  public:
    Server(machine::Machine& machine, const VncOptions& options, GuestInput::TryInput try_input, const Layout& layout)
        : machine_(machine), options_(options), input_(machine, std::move(try_input), layout),
          keyboard_(input_.keys(), layout) {}
    ~Server() override {
        ended_ = true;
        if (thread_.joinable()) thread_.join();
        if (!screen_) return;
        rfbShutdownServer(screen_, TRUE);
        rfbScreenCleanup(screen_);
    }
    Result<void> start();

    Status status() const override;
    Result<void> set_password(const std::string& password) override;
    Result<void> expire_password(std::optional<i64> when) override;

  private:
    struct Viewer {
        NetworkPlace place;
        bool watches = false;
        std::string cut, last_paste;
    };
    using Step = machine::event::Viewer::Step;

    static Server& of(rfbClientPtr client) { return *static_cast<Server*>(client->screen->screenData); }
    void viewer_came(rfbClientPtr client);
    void viewer_left(rfbClientPtr client);
    void look_who_watches();
    void tell(Step step, const Viewer& viewer) const;
    bool let_in(rfbClientPtr client, std::span<const u8> response) const;
    void key(rfbClientPtr client, u32 keysym, bool pressed);
    void cut(rfbClientPtr client, std::string text);
    void paste(rfbClientPtr client);
    void pointer(unsigned buttons, int x, int y);
    void place(int x, int y);
    void run();
    // True when the screen has changed.
    bool look();
    void resize();
    void set_format();
    devices::Display* display() const {
        const auto& displays = machine_.chipset().displays();
        return displays.empty() ? nullptr : displays.front();
    }

    machine::Machine& machine_;
    const VncOptions options_;
    GuestInput input_;
    VncKeyboard keyboard_;
    std::string name_;
    rfbScreenInfoPtr screen_ = nullptr;
    std::atomic<bool> ended_{false};
    std::thread thread_;

    mutable std::mutex mutex_; // Of these two, which other threads ask about.
    VncPassword password_{[] { return static_cast<i64>(std::time(nullptr)); }};
    std::map<rfbClientPtr, Viewer> viewers_;

    // The thread's.
    devices::Surface surface_; // libvncserver sends from here.
    bool pasting_ = false;     // The V of Ctrl-Alt-V is down.
    unsigned buttons_ = 0;
    std::optional<std::pair<int, int>> place_; // Of the pointer.
};

Result<void> Server::start() {
    constexpr u32 width = 720, height = 400; // Until the guest has a screen.
    surface_.resize(width, height);
    rfbLogEnable(0);
    rfbMaxClientWait = longest_wait;
    screen_ = rfbGetScreen(nullptr, nullptr, width, height, 8, 3, 4);
    if (!screen_) return error("-vnc: there is no memory for a screen");
    name_ = "Calque" + (machine_.config().name.empty() ? "" : " [" + machine_.config().name + "]");
    screen_->screenData = this;
    screen_->desktopName = name_.c_str();
    screen_->frameBuffer = reinterpret_cast<char*>(surface_.pixels.data());
    set_format();
    screen_->alwaysShared = TRUE;
    screen_->cursor = nullptr; // The guest draws its own.
    screen_->port = options_.port;
    screen_->ipv6port = 0;
    screen_->autoPort = FALSE;
    screen_->listenInterface = ::inet_addr(options_.address.c_str());
    if (auto set = password_.set(options_.password); !set) return set;
    if (options_.wants_password) {
        screen_->authPasswdData = this; // Not null: it is asked for.
        screen_->passwordCheck = [](rfbClientPtr client, const char* response, int size) -> rfbBool {
            return of(client).let_in(client, {reinterpret_cast<const u8*>(response), static_cast<std::size_t>(size)});
        };
    }
    screen_->newClientHook = [](rfbClientPtr client) {
        of(client).viewer_came(client);
        return RFB_CLIENT_ACCEPT;
    };
    screen_->kbdAddEvent = [](rfbBool pressed, rfbKeySym keysym, rfbClientPtr client) {
        of(client).key(client, keysym, pressed);
    };
    screen_->setXCutText = [](char* text, int size, rfbClientPtr client) {
        of(client).cut(client, from_latin1({text, static_cast<std::size_t>(size)}));
    };
    screen_->setXCutTextUTF8 = [](char* text, int size, rfbClientPtr client) {
        of(client).cut(client, {text, static_cast<std::size_t>(size)});
    };
    screen_->ptrAddEvent = [](int buttons, int x, int y, rfbClientPtr client) {
        of(client).pointer(static_cast<unsigned>(buttons), x, y);
    };
    rfbInitServer(screen_);
    if (screen_->listenSock == RFB_INVALID_SOCKET)
        return error("-vnc: nobody can connect to {} port {}: it is in use, or no address of this host",
                     options_.address, options_.port);
    thread_ = std::thread([this] { run(); });
    return {};
}

void Server::viewer_came(rfbClientPtr client) {
    client->clientGoneHook = [](rfbClientPtr gone) { of(gone).viewer_left(gone); };
    const Viewer viewer{other_end(client->sock), false, {}, {}};
    tell(Step::came, viewer);
    std::lock_guard lock(mutex_);
    viewers_.emplace(client, viewer);
}

void Server::viewer_left(rfbClientPtr client) {
    input_.keys().release_all();
    input_.release_buttons();
    buttons_ = 0;
    place_.reset();
    look_who_watches(); // It may have come and gone in one look.
    std::unique_lock lock(mutex_);
    const auto left = viewers_.extract(client);
    const bool last = viewers_.empty();
    lock.unlock();
    if (left) tell(Step::left, left.mapped());
    if (last && display()) display()->stop_updates();
}

// The library does not say when a viewer's greeting is over.
void Server::look_who_watches() {
    for (auto& [client, viewer] : viewers_) {
        if (viewer.watches || client->state != rfbClientRec::RFB_NORMAL) continue;
        {
            std::lock_guard lock(mutex_);
            viewer.watches = true;
        }
        tell(Step::watches, viewer);
    }
}

void Server::tell(Step step, const Viewer& viewer) const {
    machine_.tell(
        machine::event::Viewer{step, {options_.address, options_.port}, viewer.place, options_.wants_password});
}

bool Server::let_in(rfbClientPtr client, std::span<const u8> response) const {
    VncPassword::Challenge challenge;
    std::copy_n(client->authChallenge, challenge.size(), challenge.begin());
    std::lock_guard lock(mutex_);
    return password_.accepts(challenge, response);
}

void Server::key(rfbClientPtr client, u32 keysym, bool pressed) {
    constexpr u32 first_modifier = 0xFFE1, last_modifier = 0xFFEE; // Shift_L to Hyper_R.
    const auto held = [&](devices::Key key) { return input_.keys().holds(key); };
    const bool control = held(devices::Key::control_left) || held(devices::Key::control_right);
    if (keysym == 'v' || keysym == 'V') {
        if (pressed && control && held(devices::Key::alt_left)) {
            input_.keys().release_all(); // The guest has seen Ctrl and Alt.
            if (!std::exchange(pasting_, true)) paste(client);
            return;
        }
        if (!pressed && std::exchange(pasting_, false)) return;
    }
    // Somebody types instead.
    if (pressed && (keysym < first_modifier || keysym > last_modifier)) input_.stop_pasting();
    keyboard_.event(keysym, pressed);
}

void Server::cut(rfbClientPtr client, std::string text) {
    while (!text.empty() && text.back() == '\0')
        text.pop_back();
    text.resize(std::min(text.size(), most_cut));
    std::lock_guard lock(mutex_);
    if (const auto viewer = viewers_.find(client); viewer != viewers_.end()) viewer->second.cut = std::move(text);
}

void Server::paste(rfbClientPtr client) {
    const auto found = viewers_.find(client);
    if (found == viewers_.end()) return;
    Viewer& viewer = found->second;
    const std::string said = viewer.cut.empty() ? "the viewer has sent no text to type"
                                                : describe(input_.paste(viewer.cut), options_.keyboard);
    if (!said.empty()) machine_.log().write(Channel::keyboard, fmt::format("VNC {}: {}", viewer.place.host, said));
    std::lock_guard lock(mutex_);
    viewer.last_paste = said;
}

void Server::pointer(unsigned buttons, int x, int y) {
    constexpr unsigned wheel_up = 8, wheel_down = 16;
    const unsigned changed = buttons ^ buttons_, pressed = changed & buttons;
    if (place_ != std::pair(x, y)) {
        if (input_.takes_places())
            place(x, y);
        else if (place_)
            input_.move(x - place_->first, y - place_->second);
    }
    place_ = {x, y};
    buttons_ = buttons;
    constexpr std::pair<unsigned, devices::MouseButton> known[] = {
        {1, devices::MouseButton::left}, {2, devices::MouseButton::middle}, {4, devices::MouseButton::right}};
    for (const auto& [bit, button] : known)
        if (changed & bit) input_.button(button, buttons & bit);
    if (pressed & wheel_up) input_.scroll(1);
    if (pressed & wheel_down) input_.scroll(-1);
}

void Server::place(int x, int y) {
    const auto on = [](int at, u32 size) { return static_cast<u32>(std::clamp(at, 0, static_cast<int>(size) - 1)); };
    input_.place(on(x, surface_.width), on(y, surface_.height), surface_.width, surface_.height);
}

void Server::resize() {
    rfbNewFramebuffer(screen_, reinterpret_cast<char*>(surface_.pixels.data()), static_cast<int>(surface_.width),
                      static_cast<int>(surface_.height), 8, 3, 4);
    set_format(); // It had set the library's own.
    rfbClientIteratorPtr viewers = rfbGetClientIterator(screen_);
    while (rfbClientPtr viewer = rfbClientIteratorNext(viewers))
        screen_->setTranslateFunction(viewer);
    rfbReleaseClientIterator(viewers);
}

// Of devices::Surface: 00RRGGBB.
void Server::set_format() {
    screen_->serverFormat.depth = 24;
    screen_->serverFormat.redShift = 16;
    screen_->serverFormat.greenShift = 8;
    screen_->serverFormat.blueShift = 0;
}

bool Server::look() {
    if (!display()) return false;
    const auto damage = display()->update(surface_);
    if (damage.resized || surface_.pixels.data() != reinterpret_cast<u32*>(screen_->frameBuffer)) {
        resize();
        return true;
    }
    const int width = static_cast<int>(surface_.width);
    if (damage.first >= damage.end) return false;
    rfbMarkRectAsModified(screen_, 0, static_cast<int>(damage.first), width, static_cast<int>(damage.end));
    return true;
}

void Server::run() {
    unsigned still = 0;
    while (!ended_) {
        const bool handed_over = input_.flush();
        if (!viewers_.empty()) still = look() ? 0 : still + 1;
        const long wait = !handed_over ? 4 : viewers_.empty() ? nobody : still < idle_after ? frame : idle_frame;
        rfbProcessEvents(screen_, wait * 1000);
        look_who_watches();
    }
}

// --- For other threads

machine::RemoteScreen::Status Server::status() const {
    Status status;
    status.place = {options_.address, options_.port};
    status.wants_password = options_.wants_password;
    std::lock_guard lock(mutex_);
    status.has_password = password_.is_set();
    status.expires = password_.expires();
    for (const auto& [client, viewer] : viewers_)
        status.viewers.push_back({viewer.place, viewer.watches, viewer.cut.size(), viewer.last_paste});
    return status;
}

Result<void> Server::set_password(const std::string& password) {
    if (!options_.wants_password)
        return error("this screen asks for no password; start with -vnc {}:{},password=on", options_.address,
                     options_.port - 5900);
    std::lock_guard lock(mutex_);
    return password_.set(password);
}

Result<void> Server::expire_password(std::optional<i64> when) {
    if (!options_.wants_password)
        return error("this screen asks for no password; start with -vnc {}:{},password=on", options_.address,
                     options_.port - 5900);
    std::lock_guard lock(mutex_);
    password_.expire(when);
    return {};
}

} // namespace

Result<std::unique_ptr<VncServer>> VncServer::open(machine::Machine& machine, const VncOptions& options,
                                                   GuestInput::TryInput try_input) {
    const Layout* const layout = find_layout(options.keyboard);
    if (!layout) return error("-k {}: there is no such layout; there are: {}", options.keyboard, layout_names());
    auto server = std::make_unique<Server>(machine, options, std::move(try_input), *layout);
    if (auto started = server->start(); !started) return started.error();
    return std::unique_ptr<VncServer>(std::move(server));
}

} // namespace calque::console
