// Whether the guest runs: stop, cont, reset, the power button, the end.
#include "frontend/qmp/commands.h"
#include "frontend/qmp/names.h"

#include <array>

namespace calque::qmp {

namespace {

using machine::RunState;

Answer query_status(Control& control, const Arguments&) {
    const RunState state = control.machine.state();
    return Object{{"status", name_of(state)}, {"singlestep", false}, {"running", state == RunState::running}};
}

Answer stop(Control& control, const Arguments&) {
    control.machine.request_pause();
    return {};
}

Answer cont(Control& control, const Arguments&) {
    if (control.machine.state() == RunState::shutdown)
        return Failure{ErrorClass::generic, "the guest has powered off; only after a system_reset it can go on"};
    if (control.surroundings.nothing_to_run)
        return Failure{ErrorClass::generic, "with -machine none there is nothing to run"};
    control.machine.request_resume();
    return {};
}

Answer system_reset(Control& control, const Arguments&) {
    control.machine.request_reset(machine::Cause::host_monitor);
    return {};
}

Answer system_powerdown(Control& control, const Arguments&) {
    control.machine.request_power_button();
    return {};
}

Answer system_wakeup(Control&, const Arguments&) {
    return Failure{ErrorClass::generic,
                   "the guest is not suspended: this machine has no sleep states S1 to S4 to wake up from"};
}

Answer quit(Control& control, const Arguments&) {
    control.machine.request_quit(0, machine::Cause::host_monitor);
    return {};
}

constexpr std::array commands{
    Command{"query-status", "", "StatusInfo", query_status},
    Command{"stop", "", "", stop},
    Command{"cont", "", "", cont},
    Command{"system_reset", "", "", system_reset},
    Command{"system_powerdown", "", "", system_powerdown},
    Command{"system_wakeup", "", "", system_wakeup},
    Command{"quit", "", "", quit, true},
};

} // namespace

std::span<const Command> run_commands() { return commands; }

} // namespace calque::qmp
