// What a BIOS's power-on self test programs into the chipset, for guests that start without one.
#pragma once

#include "firmware/platform.h"

namespace calque::firmware {

// The machine's port bus, as the boot processor would reach it. Sizes are 1, 2 and 4 bytes.
class PortAccess {
  public:
    virtual ~PortAccess() = default;
    virtual u32 in(u16 port, unsigned size) = 0;
    virtual void out(u16 port, unsigned size, u32 value) = 0;
};

// Through configuration mechanism 1 and the ISA ports: PAM (RAM at 0xC0000-0xFFFFF), PIRQ routing and ELCR, the PIIX4
// PM block's base, BARs, interrupt lines and command registers of bus 0, the 8259 pair (vectors 08h and 70h, all masked
// but the cascade), the 8254's channel 0 at 18.2 Hz. Devices that are not there are passed over. To be called once
// after reset, before direct_boot()'s state runs.
void power_on_self_test(PortAccess& ports, const Platform& platform);

} // namespace calque::firmware
