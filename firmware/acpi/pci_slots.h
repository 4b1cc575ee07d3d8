// The part of the DSDT by which PCI devices come and go while the machine runs.
#pragma once

#include "firmware/acpi/aml.h"
#include "firmware/platform.h"

namespace calque::firmware {

inline constexpr unsigned pci_slots = 32;
inline constexpr u8 pci_hotplug_ports = 0x14; // How many there are from Platform::pci_hotplug_base on.

// For the scope of the PCI host bridge: the ports as a device that nobody else may lie over, a device for each slot
// that can be emptied (ACPI 6.4, 6.3), and PCNT, which tells the operating system of each that has changed. Empty
// without hot-plugging.
aml::Terms removable_slots(const Platform& platform);
// The scope of general-purpose events, with the one that runs PCNT (5.6.4.1).
aml::Term slot_event(const Platform& platform);

} // namespace calque::firmware
