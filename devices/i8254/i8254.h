// The 8254 programmable interval timer of a PC and port 61h (Intel 8254 datasheet, order 231164; PIIX3 datasheet).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/device.h"
#include "devices/i8254/counter.h"
#include "devices/irq_line.h"

#include <array>
#include <memory>
#include <mutex>

namespace calque::devices {

// Three counters at 1.193182 MHz: 0 drives IRQ 0, 1 was the memory refresh, 2 the speaker (gate and output in port
// 61h). Any thread.
class I8254 final : public Device {
  public:
    static constexpr u64 input_hz = 1'193'182;

    I8254(Log& log, Clock& clock, IrqLine irq0);

    std::string_view name() const override { return "i8254"; }
    void reset() override;
    void serialize(Archive& archive) override;

    IoRegion& ports() { return ports_; }     // Ports 40h-43h.
    IoRegion& port_61() { return port_61_; } // Port 61h, one byte: system control port B.
    bool output(unsigned counter) const;     // OUT now.
    bool speaker_enabled() const;            // Port 61h: data and gate are on.
    u32 speaker_divisor() const;             // Counter 2's count (1 to 65536): the pitch is input_hz over it.

    struct State {
        u8 port_61 = 0;    // Bits 3-0.
        u64 handled = 0;   // The tick up to which counter 0's edges have been sent.
        bool line = false; // IRQ 0 as it was last set.
    };

  private:
    class Ports final : public ByteRegion {
      public:
        explicit Ports(I8254& pit) : pit_(pit) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        I8254& pit_;
    };
    class Port61 final : public ByteRegion {
      public:
        explicit Port61(I8254& pit) : pit_(pit) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        I8254& pit_;
    };

    u64 tick() const; // Ticks of the input clock since power-on.
    void control(u8 value);
    void update_irq(); // Drives IRQ 0 from counter 0 and arms the timer for its next edge.
    void timer_fired();

    Log& log_;
    Clock& clock_;
    IrqLine irq0_;
    mutable std::mutex mutex_;
    std::array<I8254Counter, 3> counters_;
    State state_;
    Nanoseconds not_before_ = 0; // Bounds how often the timer is armed.
    Ports ports_{*this};
    Port61 port_61_{*this};
    std::unique_ptr<Timer> timer_; // Last: it goes first.
};

} // namespace calque::devices
