// The power-on self-test diagnostics port, 80: a latch that firmware writes its progress to, and that everyone writes
// to for a short delay.
#pragma once

#include "base/log.h"
#include "devices/bus/byte_region.h"

#include <atomic>

namespace calque::devices {

class PostPort final : public Device, public ByteRegion {
  public:
    explicit PostPort(Log& log) : log_(log) {}

    u8 read_byte(u64) override { return value_.load(std::memory_order_relaxed); }
    void write_byte(u64, u8 value) override {
        if (value_.exchange(value, std::memory_order_relaxed) != value)
            log_.trace(Channel::fw, "POST code {:02x}", value);
    }
    u8 code() const { return value_.load(std::memory_order_relaxed); } // The last one written.

    std::string_view name() const override { return "post"; }
    void reset() override { value_ = 0; }
    void serialize(Archive& archive) override {
        u8 value = value_;
        archive.section("post", 1, [&](u32) { archive.field("value", value); });
        value_ = value;
    }

  private:
    Log& log_;
    std::atomic<u8> value_{0};
};

} // namespace calque::devices
