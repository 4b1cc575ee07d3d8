// What a PCI function is driven in: buses, memory, and a worker whose tasks run when the target says so.
#pragma once

#include "devices/pci/pci_bus.h"
#include "tests/devices/manual_worker.h"
#include "tests/fuzz/device_driver.h"

namespace calque::fuzz {

struct PciMachine {
    PciMachine() { pci.set_interrupt_sink(&lines); }
    void attach(devices::PciFunction& function) { static_cast<void>(pci.attach(function, 4, 0)); }
    void config_write(u32 offset, u32 value, unsigned size) { pci.config_write(0, 4 << 3, offset, value, size); }

    Log log;
    ManualClock clock;
    devices::Bus ports{devices::Bus::Kind::ports, log}, memory{devices::Bus::Kind::memory, log};
    devices::PciBus pci{log, ports, memory};
    NoLines lines;
    Ram ram{0x20000};
    devices::test::ManualWorker worker;
};

} // namespace calque::fuzz
