// The MC146818 real-time clock and CMOS memory (Motorola MC146818A datasheet; PIIX4 datasheet for the second bank).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/device.h"
#include "devices/irq_line.h"

#include <array>
#include <functional>
#include <memory>
#include <mutex>

namespace calque::devices {

// Ports 70h-71h (the clock and the lower 128 bytes; bit 7 of 70h masks NMI) and 72h-73h (the upper 128 bytes). The
// time follows Clock::wall_seconds(); what the guest sets is kept as a difference to it. Any thread.
class Mc146818 final : public Device {
  public:
    struct Config {
        // Seconds to add to Clock::wall_seconds() for what the clock shows: 0 for UTC, the zone's offset for local
        // time.
        i64 base_offset = 0;
    };
    // `nmi_masked` (may be empty) gets bit 7 of port 70h whenever it changes, and after a reset or a load.
    Mc146818(Log& log, Clock& clock, Config config, IrqLine irq8, std::function<void(bool)> nmi_masked = {});

    std::string_view name() const override { return "mc146818"; }
    void reset() override; // RESET#: clears interrupt enables and flags; time and memory stay (they have a battery).
    void serialize(Archive& archive) override;

    IoRegion& ports() { return ports_; } // Ports 70h-73h.

    // The CMOS bytes 0Eh-FFh as firmware and machine set them up (sizes of memory, boot order, ...). The century (32h)
    // is part of the time.
    void set_cmos(u8 index, u8 value);
    u8 cmos(u8 index) const; // Of the time's bytes, what they last held.
    bool nmi_masked() const;
    // Seconds since 1970 as the clock shows them.
    i64 shown_seconds() const;
    // Gets these when the guest has set the clock, on its vCPU's thread, and must not call back. Set before the machine
    // runs.
    void set_time_observer(std::function<void(i64)> observer) { time_observer_ = std::move(observer); }

    struct State {
        // Index 0-9 and 32h hold the time's bytes only while updates are stopped (SET, or the divider held in reset).
        std::array<u8, 256> memory = power_on_memory();
        u8 index = 0;       // Port 70h, with the NMI mask in bit 7.
        u8 upper_index = 0; // Port 72h.
        // The time: `base_second` (seconds since 1970 as the clock shows them) was reached at `base_time` (clock
        // nanoseconds, may be before power-on), which is also where the divider chain started.
        i64 base_second = 0;
        i64 base_time = 0;
        u8 weekday_shift = 0;     // Days to add to the true day of the week.
        i64 update_handled = 0;   // The second up to which updates and alarms are in register C.
        u64 periodic_handled = 0; // The 32.768 kHz tick up to which periods are in register C.

        static std::array<u8, 256> power_on_memory();
    };

  private:
    class Ports final : public ByteRegion {
      public:
        explicit Ports(Mc146818& rtc) : rtc_(rtc) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        Mc146818& rtc_;
    };

    // clock.cpp: the time. All of these are called with the lock.
    u8& reg(unsigned index) { return state_.memory[index]; }
    u8 reg(unsigned index) const { return state_.memory[index]; }
    bool divider_held() const;
    bool stopped() const; // The time stands still, and its bytes are plain memory.
    i64 since_base() const;
    i64 second() const; // The second that the clock shows, while it is not stopped.
    bool update_in_progress() const;
    void latch_time();  // Puts the time's bytes into memory.
    void commit_time(); // Takes the time from the bytes in memory.
    u8 encode(unsigned value) const;
    unsigned decode(u8 byte) const;
    u8 encode_hour(unsigned hour) const;
    unsigned decode_hour(u8 byte) const;
    bool alarm_matches(unsigned field, unsigned value) const;
    i64 next_alarm(i64 after) const; // The first second past `after` that the alarm bytes match, or `no_alarm`.

    // mc146818.cpp: registers and interrupts.
    u8 read_register(u8 index);
    void write_register(u8 index, u8 value);
    void write_time(u8 index, u8 value);
    void write_a(u8 value);
    void write_b(u8 value);
    void write_port(u64 port, u8 value);
    u8 read_port(u64 port);
    unsigned period_ticks() const;
    u64 divider_tick() const;
    void catch_up(); // Brings register C and IRQ 8 up to now.
    void arm();      // Sets the timer for the next event that can raise IRQ 8.
    void restart_events();
    void timer_fired();

    Log& log_;
    Clock& clock_;
    IrqLine irq8_;
    std::function<void(bool)> nmi_masked_;
    std::function<void(i64)> time_observer_;
    mutable std::mutex mutex_;
    State state_;
    Ports ports_{*this};
    std::unique_ptr<Timer> timer_; // Last: it goes first.
};

} // namespace calque::devices
