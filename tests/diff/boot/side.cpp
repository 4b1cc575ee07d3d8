#include "tests/diff/boot/side.h"

namespace calque::diff {

Result<std::unique_ptr<Side>> Side::start(const machine::MachineConfig& config) {
    auto side = std::make_unique<Side>();
    constexpr i64 some_day = 1'700'000'000;
    side->clock_.set_wall_start(some_day);
    machine::ChipsetBackends backends;
    backends.serials = {&side->console_};
    backends.serial_present = {true};
    backends.debugcon = &side->debugcon_;
    auto machine = machine::Machine::create(config, side->log_, backends, &side->clock_);
    if (!machine) return machine.error();
    side->machine_ = std::move(*machine);
    return side;
}

bool Side::end_slice(u64 instructions, cpu::ExitReason reason) {
    clock_.advance(instructions);
    if (reason != cpu::ExitReason::halted || machine_->driven().events_held()) return true;
    const Nanoseconds next = clock_.next_deadline();
    if (next == never) return false;
    clock_.advance(next > clock_.now() ? next - clock_.now() : 0);
    return true;
}

} // namespace calque::diff
