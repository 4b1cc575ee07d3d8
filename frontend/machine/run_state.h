// Whether the guest runs and why not, and what those who watch a machine are told.
#pragma once

#include "base/types.h"
#include "frontend/machine/remote_screen.h"

#include <functional>
#include <string>
#include <string_view>
#include <variant>

namespace calque::machine {

enum class RunState : u8 {
    prelaunch, // Started with -S, or reset while it was stopped for good.
    running,
    paused,
    io_error,       // A drive's werror= or rerror= stopped it.
    debug,          // A vCPU came to what a debugger waits for.
    in_migrate,     // It waits for another process' machine (-incoming).
    finish_migrate, // It stands still while the last of it is sent.
    post_migrate,   // It has been sent; it can go on here if nobody took it.
    shutdown,       // The guest powered off, under -no-shutdown: only a reset gets it going again.
};

// Who ended or reset the machine.
enum class Cause : u8 { host_signal, host_monitor, host_window, guest_shutdown, guest_reset, guest_exit, host_error };
constexpr bool by_guest(Cause cause) {
    return cause == Cause::guest_shutdown || cause == Cause::guest_reset || cause == Cause::guest_exit;
}

namespace event {
struct Stopped {};
struct Resumed {};
struct PowerButton {};
struct Shutdown {
    Cause cause;
};
struct Reset {
    Cause cause;
};
// The guest set its clock: how many seconds ahead of where -rtc base= has it.
struct ClockSet {
    i64 offset;
};
struct DiskError {
    std::string disk;
    bool write, no_space;
    std::string_view action; // "report", "ignore" or "stop".
    std::string reason;
};
struct TrayMoved {
    std::string disk;
    bool open;
};
struct BalloonChanged {
    u64 actual; // Bytes that the guest has.
};
struct MigrationChanged {
    std::string_view status;
};
struct JobChanged {
    std::string id;
    std::string_view status;
};
// Of a RemoteScreen: somebody has connected, has come so far as to be shown the screen, has gone.
struct Viewer {
    enum class Step : u8 { came, watches, left };
    Step step;
    NetworkPlace server, viewer;
    bool wants_password;
};
struct DeviceDeleted {
    std::string id; // Empty: it had none.
    std::string path;
};
} // namespace event

using Event = std::variant<event::Stopped, event::Resumed, event::PowerButton, event::Shutdown, event::Reset,
                           event::ClockSet, event::DiskError, event::TrayMoved, event::BalloonChanged,
                           event::JobChanged, event::MigrationChanged, event::Viewer, event::DeviceDeleted>;
// Called on any thread, perhaps with a device's lock held: it must not call the machine back, and not block.
using EventObserver = std::function<void(const Event&)>;

} // namespace calque::machine
