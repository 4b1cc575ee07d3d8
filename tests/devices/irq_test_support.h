// Stand-ins for what interrupt controllers and timers are wired to.
#pragma once

#include "base/manual_clock.h"
#include "devices/bus/bus.h"
#include "devices/device.h"
#include "devices/irq_line.h"
#include "devices/lapic/vcpu_port.h"
#include "tests/devices/saving.h"

#include <gtest/gtest.h>
#include <map>
#include <vector>

namespace calque::devices::test {

// Remembers the level of every input and how often it rose.
class RecordingSink final : public IrqSink {
  public:
    void set_irq(unsigned number, bool level) override {
        if (level && !levels[number]) ++edges[number];
        levels[number] = level;
    }
    bool level(unsigned number) { return levels[number]; }
    unsigned rises(unsigned number) { return edges[number]; }

    std::map<unsigned, bool> levels;
    std::map<unsigned, unsigned> edges;
};

// A clock whose timers fire when the test says so, however late that is.
class LateClock final : public Clock {
  public:
    Nanoseconds now() const override { return time; }
    i64 wall_seconds() const override { return 0; }
    std::unique_ptr<Timer> make_timer(std::function<void()> callback) override {
        fire = std::move(callback);
        return std::make_unique<Silent>();
    }
    Nanoseconds time = 0;
    std::function<void()> fire; // What the latest timer calls.

  private:
    class Silent final : public Timer {
        void arm(Nanoseconds) override {}
        void disarm() override {}
    };
};

class RecordingMsi final : public MsiSink {
  public:
    struct Message {
        u64 address;
        u32 data;
        bool operator==(const Message&) const = default;
    };
    void send_msi(PhysicalAddress address, u32 data) override { messages.push_back({address.value, data}); }
    std::vector<Message> messages;
};

class RecordingVcpu final : public VcpuPort {
  public:
    void interrupt_line(bool level) override { line = level; }
    void nmi() override { ++nmis; }
    void smi() override { ++smis; }
    void init() override { ++inits; }
    void startup(u8 vector) override { startups.push_back(vector); }
    void apic_base_changed(PhysicalAddress new_base, bool new_mmio) override {
        base = new_base.value;
        mmio = new_mmio;
    }

    bool line = false;
    unsigned nmis = 0, smis = 0, inits = 0;
    std::vector<u8> startups;
    u64 base = 0;
    bool mmio = false;
};

// Loads what `from` saves into `to`, and checks that `to` then saves the same bytes.
inline void expect_round_trip(Device& from, Device& to) {
    const std::vector<u8> saved = save(from);
    const Result<void> result = load(to, saved);
    ASSERT_TRUE(result.ok()) << result.error().message;
    EXPECT_EQ(save(to), saved);
}

} // namespace calque::devices::test
