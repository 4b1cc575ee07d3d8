// The power management block of the PIIX4: PM1, the PM timer, GPE0 and the APM ports (Intel 82371AB datasheet, order
// 290562, chapter 7; ACPI specification 6.4, chapter 4.8).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/device.h"
#include "devices/irq_line.h"

#include <functional>
#include <memory>
#include <mutex>

namespace calque::devices {

// Any thread. The callbacks run on the thread that wrote the register, without the device's lock.
class AcpiPm final : public Device {
  public:
    static constexpr u64 default_base = 0x600; // What firmware puts into PMBA.
    static constexpr u64 block_size = 64;
    static constexpr u64 timer_hz = 3'579'545;
    // Offsets in the block, for the FADT.
    static constexpr u64 pm1_event = 0x00;   // 4 bytes: status, enable.
    static constexpr u64 pm1_control = 0x04; // 2 bytes.
    static constexpr u64 pm_timer = 0x08;    // 4 bytes.
    static constexpr u64 gpe0 = 0x0c;        // 4 bytes: status, enable.
    // What the SMI command port (B2h) takes.
    static constexpr u8 acpi_enable = 0xf1;
    static constexpr u8 acpi_disable = 0xf0;
    // SLP_TYP values, for the DSDT's _Sx packages.
    static constexpr u8 sleep_type_s3 = 1;
    static constexpr u8 sleep_type_s4 = 2;
    static constexpr u8 sleep_type_s5 = 0;

    struct Config {
        bool timer_32_bit = false; // FADT flag TMR_VAL_EXT.
    };
    struct Callbacks {
        std::function<void()> power_off; // SLP_EN with S5 (or S4).
        std::function<void()> smi;       // A write to B2h while SMIs on APM are enabled.
    };
    AcpiPm(Log& log, Clock& clock, Config config, IrqLine sci, Callbacks callbacks);

    std::string_view name() const override { return "acpi_pm"; }
    void reset() override;
    void serialize(Archive& archive) override;

    IoRegion& pm_ports() { return pm_ports_; }   // 64 ports at PMBA; the PCI function maps them while PMIOSE is set.
    IoRegion& apm_ports() { return apm_ports_; } // Ports B2h-B3h.
    void set_apm_smi_enabled(bool enabled);      // APMC_EN of the PCI function (DEVACTB bit 25).

    void press_power_button();
    void press_sleep_button();
    void set_gpe(unsigned number, bool level); // GPE 0-15: a rising edge sets the status bit.
    bool sci() const;

    struct State {
        u16 pm1_status = 0;
        u16 pm1_enable = 0;
        u16 pm1_control = 0;
        u16 gpe_status = 0;
        u16 gpe_enable = 0;
        u16 gpe_lines = 0;
        u32 processor_control = 0; // PCNTRL.
        u32 global_enable = 0;     // GLBEN (16 bits) and GLBCTL, DEVCTL: kept and read back.
        u32 global_control = 0;
        u32 device_control = 0;
        u32 general_output = 0x7fff'bfff; // GPOREG.
        u8 apm_control = 0;
        u8 apm_status = 0;
        bool apm_smi = false;
        u64 toggles_seen = 0; // Changes of the timer's top bit that are in TMR_STS.
        bool sci = false;
    };

  private:
    class PmPorts final : public IoRegion {
      public:
        explicit PmPorts(AcpiPm& pm) : pm_(pm) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        AcpiPm& pm_;
    };
    class ApmPorts final : public ByteRegion {
      public:
        explicit ApmPorts(AcpiPm& pm) : pm_(pm) {}
        u8 read_byte(u64 offset) override;
        void write_byte(u64 offset, u8 value) override;

      private:
        AcpiPm& pm_;
    };

    u64 toggles() const; // How often the timer's top bit has changed since power-on.
    u32 timer_value() const;
    void update();
    void timer_fired();
    u8 read_byte(u64 offset) const;
    void write_byte(u64 offset, u8 byte);
    bool sleep();

    Log& log_;
    Clock& clock_;
    Config config_;
    IrqLine sci_;
    Callbacks callbacks_;
    mutable std::mutex mutex_;
    State state_;
    PmPorts pm_ports_{*this};
    ApmPorts apm_ports_{*this};
    std::unique_ptr<Timer> timer_;
};

} // namespace calque::devices
