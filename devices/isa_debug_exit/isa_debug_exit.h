// A port by which a test guest ends the emulator with a status of its choice.
#pragma once

#include "devices/device.h"

#include <functional>

namespace calque::devices {

// A write of `value` asks for the exit status (value << 1) | 1, of which the host keeps the low eight bits. Reads give
// 0. Has no state.
class IsaDebugExit final : public Device, public IoRegion {
  public:
    static constexpr u64 default_base = 0x501, default_size = 2;

    // `exit` gets the status; runs on the writing vCPU.
    explicit IsaDebugExit(std::function<void(u32 status)> exit) : exit_(std::move(exit)) {}

    u64 read(u64, unsigned) override { return 0; }
    void write(u64, u64 value, unsigned) override {
        if (exit_) exit_(static_cast<u32>(value) << 1 | 1);
    }

    std::string_view name() const override { return "isa_debug_exit"; }
    void reset() override {}
    void serialize(Archive& archive) override {
        archive.section("isa_debug_exit", 1, [](u32) {});
    }

  private:
    std::function<void(u32)> exit_;
};

} // namespace calque::devices
