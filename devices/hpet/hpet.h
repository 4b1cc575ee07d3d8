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
        u64 config = 0; // The writable bits of Tn_CONF.
        u64 comparator = ~u64{0};
        u64 period = 0;  // What was last written while periodic.
        u64 fsb = 0;     // Tn_FSB_INT_ADDR in the high half, _VAL in the low.
        u64 handled = 0; // The main counter up to which matches have been seen.
        bool line = false;
    };
    struct State {
        u64 config = 0;  // GEN_CONF: ENABLE_CNF, LEG_RT_CNF.
        u64 status = 0;  // GINTR_STS.
        u64 counter = 0; // The main counter when it stands, or at `started`.
        Nanoseconds started = 0;
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

    Log& log_;
    Clock& clock_;
    Lines lines_;
    MsiSink& msi_;
    std::mutex mutex_;
    State state_;
    Mmio mmio_{*this};
    std::unique_ptr<Timer> timer_;
};

} // namespace calque::devices
