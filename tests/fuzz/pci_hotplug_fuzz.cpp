#include "devices/pci_hotplug/pci_hotplug.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;
using namespace calque::devices;

// The machine's side too: devices come, are asked back, and go when the guest lets go of them.
extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    Bus ports(Bus::Kind::ports, log);
    u32 there = 0;
    PciHotplug* self = nullptr;
    PciHotplug device(log, {[] {},
                            [&](u32 slots) {
                                if (slots & ~there) __builtin_trap();
                                there &= ~slots;
                                for (unsigned slot = 0; slot < 32; ++slot)
                                    if (slots >> slot & 1) self->unplugged(slot);
                            }});
    self = &device;
    ports.map(PciHotplug::default_base, PciHotplug::size, device, "pci-hotplug");
    const auto host = [&](fuzz::Input& input) {
        const u8 what = input.byte();
        const unsigned slot = what & 31;
        if (what & 0x80) return device.ask_back(slot);
        there |= u32{1} << slot;
        device.plugged(slot, what & 0x40);
    };
    fuzz::drive({device, ports, {{PciHotplug::default_base, PciHotplug::size}}, nullptr, host}, data, size);
    if (device.asked_back() & ~there) __builtin_trap();
    return 0;
}
