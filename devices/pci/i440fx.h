// The host bridge: Intel 82441FX (440FX PCIset datasheet, 290549), with the register file that firmware programs.
#pragma once

#include "base/log.h"
#include "devices/device.h"
#include "devices/pci/function.h"

#include <array>

namespace calque::devices {

// How the chipset decodes the first megabyte: what the PAM and SMRAM registers ask for.
struct MemoryShape {
    struct Segment {
        u32 base;       // Physical address.
        u32 length;     // In bytes.
        bool read_ram;  // RE: reads go to RAM; otherwise to PCI, where the BIOS ROM answers.
        bool write_ram; // WE: writes go to RAM; otherwise to PCI, where the ROM drops them.
        bool operator==(const Segment&) const = default;
    };
    std::array<Segment, 13> segments; // C0000-EFFFF in 16 KiB steps, then F0000-FFFFF; in order of address.
    // A0000-BFFFF. RAM for code in SMM when `smram_enabled`; for everyone when also `smram_open`; with `smram_closed`
    // data accesses go to PCI (the VGA) even in SMM, while code is still fetched from RAM.
    bool smram_enabled;
    bool smram_open;
    bool smram_closed;
    bool operator==(const MemoryShape&) const = default;
};

// Implemented by the machine: changes the memory map as asked. Runs on the writing vCPU, under the PCI bus's
// configuration lock, before the configuration write returns; and when a reset or a load changes something. At power-on
// all reads and writes go to PCI and SMRAM is disabled.
class MemoryShaper {
  public:
    virtual ~MemoryShaper() = default;
    virtual void shape_memory(const MemoryShape& shape) = 0;
};

class I440fx final : public Device {
  public:
    I440fx(Log& log, MemoryShaper& shaper);

    PciFunction& function() { return pci_; } // Belongs in slot 0, function 0.
    MemoryShape shape() const;               // As the registers stand.

    std::string_view name() const override { return "i440fx"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    void config_written(unsigned offset, unsigned size);
    void apply();

    MemoryShaper& shaper_;
    PciFunction pci_;
    bool smram_locked_ = false; // SMRAM.D_LCK before the write at hand; follows from the register.
    MemoryShape applied_{};     // What the machine was told last; follows from the registers.
};

} // namespace calque::devices
