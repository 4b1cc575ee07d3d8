// One of the two machines that run the same guest: driven, with a time that only its instructions move.
#pragma once

#include "base/manual_clock.h"
#include "frontend/machine/machine.h"

#include <memory>
#include <optional>
#include <string>

namespace calque::diff {

class Side {
  public:
    // The engine is the configuration's.
    static Result<std::unique_ptr<Side>> start(const machine::MachineConfig& config);

    cpu::Cpu& cpu() { return machine_->driven().cpu(); }
    jit::Engine* translator() { return machine_->driven().translator(); }
    std::span<const u8> ram() { return {machine_->memory().ram().data(), machine_->memory().ram().size()}; }
    const std::string& console() const { return console_.text; }        // What the guest wrote to its serial port,
    const std::string& debug_console() const { return debugcon_.text; } // and to port E9h.

    // What happened while time passed reaches the processor; then up to so many instructions.
    void begin_slice() { machine_->driven().release_events(); }
    cpu::ExitReason run(u64 instructions) { return machine_->driven().drive(instructions); }
    // Time passes: a nanosecond for each instruction; to the next timer where the processor waits for one.
    // False when there is nothing that it could wait for.
    bool end_slice(u64 instructions, cpu::ExitReason reason);
    std::optional<machine::Ending> ending() { return machine_->serve_requests(); }

  private:
    struct Console final : devices::CharBackend {
        void transmit(std::span<const u8> bytes) override { text.append(bytes.begin(), bytes.end()); }
        void set_receiver(Receiver) override {}
        void resume() override {}
        std::string text;
    };

    Log log_;
    ManualClock clock_;
    Console console_, debugcon_;
    std::unique_ptr<machine::Machine> machine_;
};

} // namespace calque::diff
