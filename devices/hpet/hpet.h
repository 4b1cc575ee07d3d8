// The high precision event timer (IA-PC HPET specification 1.0a).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/device.h"
#include "devices/irq_line.h"

#include <array>
#include <memory>
#include <mutex>

namespace calque::devices {

// One block with a 64-bit main counter of 100 MHz. Any thread.
class Hpet final : public Device {
  public:
    static constexpr unsigned timer_count = 3;
    static constexpr u64 default_base = 0xfed0'0000;
    static constexpr u64 mmio_size = 1024;
    static constexpr u32 period_fs = 10'000'000; // Femtoseconds per tick.
    static constexpr u64 vendor_id = 0x8086;
    // The capability register's low half: what the ACPI table's event timer block ID repeats.
    static constexpr u32 block_id = 0x8086'0000 | (1 << 15) | (1 << 13) | ((timer_count - 1) << 8) | 0x01;
    static constexpr u32 route_capability = 0x00f0'0104; // IOAPIC pins a timer may use: 2, 8, 20-23.

    struct Lines {
        IrqSink* pins = nullptr; // Input n is IOAPIC pin n.
        unsigned first_pin = 0;  // The sink's number of pin 0.
        IrqLine legacy_irq0;
        IrqLine legacy_irq8;
        IrqLine legacy_mode; // High while the legacy replacement route is on.
    };
    // `msi` takes the interrupts of timers in FSB mode.
    Hpet(Log& log, Clock& clock, const Lines& lines, MsiSink& msi);

    std::string_view name() const override { return "hpet"; }
    void reset() override;
    void serialize(Archive& archive) override;

    IoRegion& mmio() { return mmio_; } // 1 kB at FED00000h.

    struct TimerState {
        u64 config = 0; // The writable bits of Tn_CONF, and VAL_SET while it waits for its write.
        u64 comparator = ~u64{0};
        u64 period = 0;    // What was last written to the comparator.
        u64 fsb = 0;       // Tn_FSB_INT_ADDR in the high half, Tn_FSB_INT_VAL in the low.
        bool edge = false; // An edge has been signalled; the line stays high until the next one.
    };
    struct State {
        u64 config = 0;  // GEN_CONF: ENABLE_CNF, LEG_RT_CNF.
        u64 status = 0;  // GINTR_STS.
        u64 counter = 0; // The main counter while it stands, else its value at tick `started` of the clock.
        u64 started = 0;
        u64 handled = 0; // The main counter up to which matches have been seen.
        std::array<TimerState, timer_count> timers;
    };

  private:
    class Mmio final : public IoRegion {
      public:
        explicit Mmio(Hpet& hpet) : hpet_(hpet) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        Hpet& hpet_;
    };

    bool running() const;
    u64 tick() const; // Of the 10 ns oscillator, since power-on.
    u64 counter() const;
    static u64 width(const TimerState& timer); // The mask of the bits that are compared.
    bool legacy(unsigned n) const;
    u64 read_register(u64 offset) const;
    void write_register(u64 offset, u64 value, u64 mask);
    void write_general_config(u64 value);
    void write_timer_config(TimerState& timer, unsigned n, u64 value);
    void write_comparator(TimerState& timer, u64 value, u64 mask);
    u64 advance(TimerState& timer, u64 elapsed);
    void signal(unsigned n);
    void drive(unsigned n); // Sets the timer's line, and lets go of the one it had before.
    void catch_up();
    void arm();
    void timer_fired();

    Log& log_;
    Clock& clock_;
    Lines lines_;
    MsiSink& msi_;
    std::mutex mutex_;
    State state_;
    Nanoseconds not_before_ = 0; // Bounds how often the timer is armed.
    struct Driven {
        bool level = false;
        bool legacy = false;
        unsigned pin = 0;
    };
    std::array<Driven, timer_count> driven_{}; // Derived: what the lines were last set to.
    Mmio mmio_{*this};
    std::unique_ptr<Timer> timer_; // Last: it goes first.
};

} // namespace calque::devices
