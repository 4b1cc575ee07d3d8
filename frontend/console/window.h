// The window in which a person uses the machine: its screen, keyboard and mouse, its serial consoles and monitor.
#pragma once

#include "base/result.h"
#include "frontend/backends/vc_chardev.h"
#include "frontend/machine/machine.h"

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::console {

struct WindowOptions {
    bool full_screen = false;
    bool window_close = true;       // Closing the window acts on the machine.
    bool show_cursor = false;       // The host's pointer is seen above the guest's screen.
    bool status_line = true;        // At the start.
    std::string keyboard = "en-us"; // The guest's layout, for text that is pasted.
};

// A console that the window shows besides the guest's screen. Not owned; it outlives the window.
struct ConsolePlace {
    std::string name;
    backends::VcChardev* backend;
};

class Window {
  public:
    virtual ~Window() = default;
    // Shows the machine until end(). The main thread's; never waits for the machine.
    virtual void run() = 0;
    virtual void end() = 0; // Any thread.
    // What showing the guest's screen has taken, for --stats. After run().
    virtual std::string stats() const = 0;
};

// The host's display. The main thread's.
class HostDisplay {
  public:
    virtual ~HostDisplay() = default;
    // `try_input` holds back a save of the machine while something is given to it; a lock that is not held: not now.
    virtual Result<std::unique_ptr<Window>> open(machine::Machine& machine, std::vector<ConsolePlace> consoles,
                                                 const WindowOptions& options,
                                                 std::function<std::unique_lock<std::mutex>()> try_input) = 0;
};

// True where the environment names a display.
bool display_is_named();
Result<std::unique_ptr<HostDisplay>> connect_display();

} // namespace calque::console
