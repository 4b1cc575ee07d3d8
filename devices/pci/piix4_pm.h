// The power management function: Intel 82371AB function 3 (PIIX4 datasheet, 290562), the part with configuration
// space. The ACPI register block itself is handed in.
#pragma once

#include "base/log.h"
#include "devices/bus/window.h"
#include "devices/device.h"
#include "devices/pci/function.h"

#include <functional>
#include <memory>
#include <optional>

namespace calque::devices {

// Places the 64-byte power management block at PMBA when PMREGMISC.PMIOSE is set, and the 16-byte SMBus block (when
// there is one) at SMBBA when SMBHSTCFG.SMB_HST_EN is set.
class Piix4Pm final : public Device {
  public:
    static constexpr u64 pm_size = 64;
    static constexpr u64 smbus_size = 16;

    // `pm` and `smbus` (may be null) are not owned.
    Piix4Pm(Log& log, Bus& ports, IoRegion& pm, IoRegion* smbus);

    PciFunction& function() { return pci_; } // Belongs in slot 1, function 3.
    std::optional<u64> pm_base() const { return pm_.base(); }
    // Called with DEVACTB.APMC_EN (bit 25), whether a write to port B2h raises an SMI, whenever it may have changed.
    void set_apm_enable_hook(std::function<void(bool)> hook) { apm_enable_ = std::move(hook); }

    std::string_view name() const override { return "piix4_pm"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    void place();

    PciFunction pci_;
    Window pm_;
    std::unique_ptr<Window> smbus_;
    std::function<void(bool)> apm_enable_;
};

} // namespace calque::devices
