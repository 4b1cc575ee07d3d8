// System control port A, port 92: fast A20 gate and fast reset (PIIX3 datasheet, 2.5.6).
#pragma once

#include "base/log.h"
#include "devices/bus/byte_region.h"

#include <functional>
#include <mutex>

namespace calque::devices {

class Port92 final : public Device, public ByteRegion {
  public:
    // `set_a20` gets this port's request when it changes; the machine ORs it with the keyboard controller's.
    // `reset_cpu` asks for INIT of the processors (a soft reset). Both run on the writing vCPU, without a lock held.
    Port92(Log& log, std::function<void(bool)> set_a20, std::function<void()> reset_cpu);

    u8 read_byte(u64 offset) override;
    void write_byte(u64 offset, u8 value) override;

    std::string_view name() const override { return "port92"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    Log& log_;
    std::function<void(bool)> set_a20_;
    std::function<void()> reset_cpu_;
    std::mutex mutex_;
    struct State {
        u8 value = 0;
    } state_;
};

} // namespace calque::devices
