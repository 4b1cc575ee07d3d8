#include "frontend/console/vnc_server.h"

#include "frontend/console/vnc_keyboard.h"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <rfb/rfb.h>
#include <thread>

namespace calque::console {

namespace {

// Milliseconds between looks at the guest's screen while it moves, while it does not, and at the network when nobody
// is there; how long a viewer that does not read holds up the others.
constexpr long frame = 33, idle_frame = 100, nobody = 200;
constexpr unsigned idle_after = 10; // Looks.
constexpr int longest_wait = 5000;

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

  private:
    static Server& of(rfbClientPtr client) { return *static_cast<Server*>(client->screen->screenData); }
    void viewer_came(rfbClientPtr client);
    void viewer_left();
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
    char* passwords_[2] = {};
    rfbScreenInfoPtr screen_ = nullptr;
    std::atomic<bool> ended_{false};
    std::thread thread_;

    // The thread's.
    devices::Surface surface_; // libvncserver sends from here.
    unsigned viewers_ = 0;
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
    if (!options_.password.empty()) {
        passwords_[0] = const_cast<char*>(options_.password.c_str());
        screen_->authPasswdData = passwords_;
        screen_->passwordCheck = rfbCheckPasswordByList;
    }
    screen_->newClientHook = [](rfbClientPtr client) {
        of(client).viewer_came(client);
        return RFB_CLIENT_ACCEPT;
    };
    screen_->kbdAddEvent = [](rfbBool pressed, rfbKeySym keysym, rfbClientPtr client) {
        of(client).keyboard_.event(keysym, pressed);
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
    ++viewers_;
    client->clientGoneHook = [](rfbClientPtr gone) { of(gone).viewer_left(); };
}

void Server::viewer_left() {
    input_.keys().release_all();
    input_.release_buttons();
    buttons_ = 0;
    place_.reset();
    if (--viewers_ == 0 && display()) display()->stop_updates();
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
        if (viewers_ != 0) still = look() ? 0 : still + 1;
        const long wait = !handed_over ? 4 : viewers_ == 0 ? nobody : still < idle_after ? frame : idle_frame;
        rfbProcessEvents(screen_, wait * 1000);
    }
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
