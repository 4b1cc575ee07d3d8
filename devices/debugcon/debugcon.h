// The debug console that firmware writes its messages to: one port (E9 or 402), every byte written is a character.
#pragma once

#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/char_backend.h"

namespace calque::devices {

// Reads give `readback`, by which software finds out that the console is there (E9 for port E9). Has no state.
class Debugcon final : public Device, public ByteRegion {
  public:
    // `backend` is not owned.
    explicit Debugcon(CharBackend& backend, u8 readback = 0xE9) : backend_(backend), readback_(readback) {}

    u8 read_byte(u64) override { return readback_; }
    void write_byte(u64, u8 value) override { backend_.transmit({&value, 1}); }

    std::string_view name() const override { return "debugcon"; }
    void reset() override {}
    void serialize(Archive& archive) override {
        archive.section("debugcon", 1, [](u32) {});
    }

  private:
    CharBackend& backend_;
    u8 readback_;
};

} // namespace calque::devices
