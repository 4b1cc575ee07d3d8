// The devices that -device can name: a table of kinds, a small file for each family.
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/bus.h"
#include "devices/device.h"
#include "devices/display.h"
#include "devices/dma.h"
#include "devices/pci/pci_bus.h"
#include "frontend/machine/device_request.h"

#include <memory>

namespace calque::machine {

struct ChipsetBackends;

// What a device can be wired to.
struct DeviceContext {
    Log& log;
    Clock& clock;
    devices::DmaPort& memory;
    const ChipsetBackends& backends;
    std::string name; // Unique: the device's in saved states.
    unsigned cpus = 1;
    devices::Bus& ports;
    devices::Bus& memory_bus;
};

struct PluggedDevice {
    std::unique_ptr<devices::Device> device;
    devices::PciFunction* function = nullptr; // Part of the device; null for one that is not on the PCI bus.
    devices::Display* display = nullptr;      // Likewise; null for one without a screen.
};

struct DeviceKind {
    std::string_view name;
    std::string_view bus;     // "PCI", "ISA".
    std::string_view summary; // For -device help.
    std::span<const PropertyKind> properties;
    // Null: the command line itself acts on it.
    Result<PluggedDevice> (*make)(const DeviceContext&, const DeviceRequest&);
    std::string_view rom{}; // The option ROM that it has when no romfile= is given, in the firmware's folders.
};

std::span<const DeviceKind> display_kinds();
std::span<const DeviceKind> isa_kinds();
std::span<const DeviceKind> net_kinds();
std::span<const DeviceKind> virtio_kinds();

// Null when there is none of that name.
const DeviceKind* find_device_kind(std::string_view name);
// Driver and properties, before anything is built.
Result<void> check_device(const DeviceRequest& request);
std::string device_help();                              // -device help
Result<std::string> device_help(std::string_view name); // -device NAME,help

} // namespace calque::machine
