// The PCI-to-ISA bridge: Intel 82371SB function 0 (PIIX3 datasheet, 290550).
#pragma once

#include "base/log.h"
#include "devices/device.h"
#include "devices/irq_line.h"
#include "devices/pci/function.h"

#include <array>
#include <mutex>

namespace calque::devices {

// Steers PIRQA#-PIRQD# (inputs 0-3 as an IrqSink) to ISA IRQs by the PIRQRC registers 60-63. The interrupt router's
// inputs 0-15 are the ISA IRQs; only those that a PIRQ is steered to are ever driven from here. An IRQ with several
// PIRQs is the OR of them. The reset control register CF9 is a device of its own (devices/reset_control).
class Piix3 final : public Device, public IrqSink {
  public:
    Piix3(Log& log, IrqSink& router);

    PciFunction& function() { return pci_; } // Belongs in slot 1, function 0.
    void set_irq(unsigned pirq, bool level) override;
    // The ISA IRQ that a PIRQ goes to, or -1.
    int route(unsigned pirq) const;

    std::string_view name() const override { return "piix3"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    void config_written(unsigned offset, unsigned size);
    void drive_locked();

    Log& log_;
    IrqSink& router_;
    PciFunction pci_;
    mutable std::mutex mutex_;
    struct State {
        std::array<bool, 4> pirq{};
    } state_;
    std::array<bool, 16> driven_{}; // What the router was told last; follows from the state.
};

} // namespace calque::devices
