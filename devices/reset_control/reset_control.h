// The reset control register, port CF9 (PIIX3 datasheet, 2.5.7).
#pragma once

#include "base/log.h"
#include "devices/bus/byte_region.h"

#include <functional>
#include <mutex>

namespace calque::devices {

class ResetControl final : public Device, public ByteRegion {
  public:
    // `reset` runs on the writing vCPU, without a lock held. `hard` is SRST: the whole machine rather than INIT of the
    // processors.
    ResetControl(Log& log, std::function<void(bool hard)> reset) : log_(log), reset_(std::move(reset)) {}

    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;

    std::string_view name() const override { return "reset_control"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    Log& log_;
    std::function<void(bool)> reset_;
    std::mutex mutex_;
    struct State {
        u8 value = 0;
    } state_;
};

} // namespace calque::devices
