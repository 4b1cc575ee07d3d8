// The registers by which ACPI's byte code hears of PCI devices that come and go, and gives them up: those of QEMU's PC
// (its docs/specs/acpi_pci_hotplug), for the slots of the root bus.
#pragma once

#include "base/log.h"
#include "devices/device.h"

#include <functional>
#include <mutex>

namespace calque::devices {

// A slot is one bit in each register. Any thread; the callbacks run on the thread that called, without the device's
// lock.
class PciHotplug final : public Device, public IoRegion {
  public:
    static constexpr u64 default_base = 0xAE00, size = 0x14; // Ports.
    // Offsets, for the DSDT; all of 32 bits.
    static constexpr u64 up = 0x00;        // Slots whose device has come since the last read.
    static constexpr u64 down = 0x04;      // Slots whose device is wanted back, since the last read.
    static constexpr u64 eject = 0x08;     // Written: the guest lets go of these slots' devices. Reads as 0.
    static constexpr u64 removable = 0x0C; // Slots whose device can be taken out.
    static constexpr u64 bus = 0x10;       // Which bus the others speak of; 0 is the only one.

    struct Callbacks {
        std::function<void()> announce;      // There is something to read: a general-purpose event.
        std::function<void(u32 slots)> gone; // The guest has let go of them; each holds a device that is removable.
    };
    PciHotplug(Log& log, Callbacks callbacks) : log_(log), callbacks_(std::move(callbacks)) {}

    // A device that can be taken out again: there from the start, or (`tell`) new to the guest.
    void plugged(unsigned slot, bool tell);
    void ask_back(unsigned slot); // As often as wanted: each time the guest is asked anew.
    void unplugged(unsigned slot);
    u32 asked_back() const; // What the guest has not let go of yet.

    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, u64 value, unsigned size) override;
    std::string_view name() const override { return "pci_hotplug"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    struct State {
        u32 up = 0, down = 0;
        u32 asked_back = 0;
        u32 bus = 0;
    };
    u32 take(u32& bits, u32 lanes);

    Log& log_;
    const Callbacks callbacks_;
    mutable std::mutex mutex_;
    State state_;
    u32 removable_ = 0; // Follows from what is plugged in.
};

} // namespace calque::devices
