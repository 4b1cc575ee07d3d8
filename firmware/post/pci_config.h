// PCI configuration space through mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2).
#pragma once

#include "firmware/post/post.h"

namespace calque::firmware {

struct PciFunction {
    u8 device = 0; // 0-31, on bus 0
    u8 function = 0;
};

// Registers of the type 0 header that POST uses.
namespace pci_register {
inline constexpr u8 vendor_id = 0x00, device_id = 0x02, command = 0x04, class_code = 0x0A, header_type = 0x0E,
                    bar0 = 0x10, interrupt_line = 0x3C, interrupt_pin = 0x3D;
}

class PciConfig {
  public:
    explicit PciConfig(PortAccess& ports) : ports_(ports) {}
    u32 read(PciFunction at, u8 offset, unsigned size) { return ports_.in(select(at, offset), size); }
    void write(PciFunction at, u8 offset, unsigned size, u32 value) { ports_.out(select(at, offset), size, value); }

  private:
    u16 select(PciFunction at, u8 offset) {
        constexpr u16 config_address = 0xCF8, config_data = 0xCFC;
        constexpr u32 enable = 1u << 31;
        ports_.out(config_address, 4, enable | u32{at.device} << 11 | u32{at.function} << 8 | (offset & 0xFCu));
        return static_cast<u16>(config_data + (offset & 3));
    }
    PortAccess& ports_;
};

// Gives every BAR of bus 0 an address, every interrupt pin its line, and turns on decoding.
void assign_pci_resources(PciConfig& config, const Platform& platform);
// Calls `visit` for every function that is there.
template <class Visit> void for_each_function(PciConfig& config, Visit visit) {
    constexpr u8 multifunction = 0x80;
    for (u8 device = 0; device < 32; ++device) {
        const bool several = config.read({device, 0}, pci_register::header_type, 1) & multifunction;
        const u8 functions = several ? 8 : 1;
        for (u8 function = 0; function < functions; ++function)
            if (config.read({device, function}, pci_register::vendor_id, 2) != 0xFFFF)
                visit(PciFunction{device, function});
    }
}

} // namespace calque::firmware
