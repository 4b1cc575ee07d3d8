// A PCI-to-PCI bridge (PCI-to-PCI Bridge Architecture Specification 1.2).
#pragma once

#include "base/log.h"
#include "devices/bus/bus.h"
#include "devices/device.h"
#include "devices/pci/function.h"
#include "devices/pci/pci_bus.h"

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <string>

namespace calque::devices {

// Its secondary side is a bus with port and memory spaces of its own, of which the primary side sees what the bridge's
// windows show: I/O (16-bit addresses), memory, prefetchable memory (64-bit addresses), and the VGA's legacy ranges
// with the VGA enable bit. Writing the secondary bus reset bit resets what is behind.
class PciBridge final : public Device {
  public:
    // `ports` and `memory` are the primary side's. `chassis` is the number that the slot numbering capability gives.
    PciBridge(Log& log, Bus& ports, Bus& memory, u8 chassis, std::string name);
    ~PciBridge() override;

    PciFunction& function() { return function_; }
    PciBus& secondary() { return secondary_; }
    // Called when software sets the reset bit: resets every device behind the bridge. Set before the machine runs.
    void set_secondary_reset(std::function<void()> reset) { reset_secondary_ = std::move(reset); }

    std::string_view name() const override { return name_; }
    void reset() override; // Of the bridge alone: whoever resets it resets what is behind, too.
    void serialize(Archive& archive) override;

  private:
    struct Range {
        u64 base = 0;
        u64 length = 0;
        bool operator==(const Range&) const = default;
    };
    // A range of the primary side that is the same range of the secondary side.
    class Forward final : public IoRegion {
      public:
        Forward() = default;
        void connect(Bus& from, Bus& to) {
            from_ = &from;
            to_ = &to;
        }
        void place(std::optional<Range> range, const std::string& name);
        u64 read(u64 offset, unsigned size) override { return to_->read(base_ + offset, size); }
        void write(u64 offset, u64 value, unsigned size) override { to_->write(base_ + offset, value, size); }
        std::vector<DirectMemory> direct_memory() const override;

      private:
        Bus* from_ = nullptr;
        Bus* to_ = nullptr;
        std::atomic<u64> base_{0}, length_{0}; // Read by who accesses while another processor moves the window.
        std::optional<Range> placed_;
    };

    void config_written(unsigned offset, unsigned size);
    void place_windows();
    void place_io(bool on, u16 control);
    std::optional<Range> memory_window() const;
    std::optional<Range> prefetchable_window() const;

    Log& log_;
    const std::string name_;
    Bus ports_, memory_; // The secondary side's.
    PciFunction function_;
    PciBus secondary_;
    std::function<void()> reset_secondary_;
    bool in_reset_ = false; // As the control register had it last.
    // With the ISA enable bit the I/O window is only the first 256 ports of each KiB.
    static constexpr unsigned isa_blocks = 64;
    std::array<Forward, isa_blocks> isa_windows_;
    Forward io_, plain_memory_, prefetchable_, vga_memory_, vga_low_ports_, vga_high_ports_;
};

} // namespace calque::devices
