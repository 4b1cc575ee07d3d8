// What the protocol calls the machine's states and causes.
#pragma once

#include "frontend/machine/run_state.h"

namespace calque::qmp {

constexpr std::string_view name_of(machine::RunState state) {
    using machine::RunState;
    switch (state) {
    case RunState::prelaunch: return "prelaunch";
    case RunState::running: return "running";
    case RunState::paused: return "paused";
    case RunState::debug: return "debug";
    case RunState::io_error: return "io-error";
    case RunState::in_migrate: return "inmigrate";
    case RunState::finish_migrate: return "finish-migrate";
    case RunState::post_migrate: return "postmigrate";
    case RunState::shutdown: return "shutdown";
    }
    return "internal-error";
}

constexpr std::string_view shutdown_name(machine::Cause cause) {
    using machine::Cause;
    switch (cause) {
    case Cause::host_signal: return "host-signal";
    case Cause::host_monitor: return "host-qmp-quit";
    case Cause::host_window: return "host-ui";
    case Cause::guest_exit:
    case Cause::guest_shutdown: return "guest-shutdown";
    case Cause::guest_reset: return "guest-reset";
    case Cause::host_error: return "host-error";
    }
    return "none";
}

constexpr std::string_view reset_name(machine::Cause cause) {
    return cause == machine::Cause::host_monitor ? "host-qmp-system-reset" : shutdown_name(cause);
}

constexpr std::string_view vnc_auth_name(bool wants_password) { return wants_password ? "vnc" : "none"; }

} // namespace calque::qmp
