// The IDE function of the PIIX3: Intel 82371SB function 1 (PIIX3 datasheet, 290550).
#pragma once

#include "devices/bus/window.h"
#include "devices/device.h"
#include "devices/ide/ide_channel.h"
#include "devices/pci/function.h"

#include <array>

namespace calque::devices {

// Two channels at their legacy ports, each decoded when its IDETIM register says so; the bus master at BAR 4. Drives
// are in the order of -hda to -hdd: channel 0 drives 0 and 1, channel 1 drives 0 and 1.
class Piix3Ide final : public Device {
  public:
    using Drives = std::array<IdeSlot, 4>;
    // `primary` and `secondary` are IRQ 14 and 15. Backends must have no request under way when it is destroyed.
    Piix3Ide(Log& log, Bus& ports, DmaPort& dma, IrqLine primary, IrqLine secondary, const Drives& drives);

    PciFunction& function() { return pci_; } // Belongs in slot 1, function 1.

    std::string_view name() const override { return "piix3_ide"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    class MasterPorts final : public IoRegion {
      public:
        explicit MasterPorts(Piix3Ide& ide) : ide_(ide) {}
        u64 read(u64 offset, unsigned size) override;
        void write(u64 offset, u64 value, unsigned size) override;

      private:
        Piix3Ide& ide_;
    };
    struct Ports {
        Ports(Bus& bus, IdeChannel& channel, unsigned number);
        Window command, control;
    };
    PciDescriptor descriptor();
    void config_written();

    MasterPorts master_{*this};
    PciFunction pci_;
    std::array<IdeChannel, 2> channels_;
    std::array<Ports, 2> ports_;
};

} // namespace calque::devices
