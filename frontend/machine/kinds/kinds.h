// The devices that -device can name: a table of kinds, a small file for each family.
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/bus.h"
#include "devices/device.h"
#include "devices/display.h"
#include "devices/dma.h"
#include "devices/input/input_device.h"
#include "devices/pci/pci_bus.h"
#include "devices/ram_discard.h"
#include "frontend/backends/block/disk.h"
#include "frontend/machine/device_request.h"

#include <memory>

namespace calque::devices {
class PciBridge;
}

namespace calque::machine {

struct ChipsetBackends;

// A controller as drives are put on it with -device ide-hd, scsi-hd and so on. Bus "ahci0.2" is place 2 of the
// controller called "ahci0".
class DriveController {
  public:
    virtual ~DriveController() = default;
    virtual std::string_view kind() const = 0; // "IDE", "SCSI": the bus of the kinds that go there.
    virtual bool full() const = 0;
    // `place` is the number behind the controller's name, if there was one. Gives what firmware calls the drive, from
    // the controller on ("/drive@2/disk@0"). Errors: there is no such place, or it is taken.
    virtual Result<std::string> attach(const DeviceRequest& request, std::optional<unsigned> place,
                                       backends::Disk& disk, bool cd) = 0;
    // What firmware calls the controller (Open Firmware's device path); set when it has its slot.
    std::string boot_path;
};
using DriveControllers = std::vector<std::pair<std::string, DriveController*>>; // In the order of -device.

// What a device can be wired to.
struct DeviceContext {
    Log& log;
    Clock& clock;
    devices::DmaPort& memory;
    const ChipsetBackends& backends;
    std::string name; // Unique: the device's in saved states.
    unsigned cpus;
    devices::RamDiscard& ram;
    u64 ram_size; // In bytes.
    const std::vector<std::unique_ptr<devices::Device>>& plugged;
    devices::Bus& ports;
    devices::Bus& memory_bus;
    const DriveControllers& controllers; // Those before it.
};

struct PluggedDevice {
    std::unique_ptr<devices::Device> device;   // Null: it became part of another one.
    devices::PciFunction* function = nullptr;  // Part of the device; null for one that is not on the PCI bus.
    std::unique_ptr<DriveController> drives{}; // Null: takes none.
    devices::Display* display = nullptr;       // Part of the device; null for one without a screen.
    devices::InputDevice* input = nullptr;     // Part of the device; null for one that nobody types or points at.
    devices::PciBridge* bridge = nullptr;      // The device; null for one that is no bridge.
    std::string boot_path{};                   // Of a drive on a controller: what firmware calls it.
    std::string parent{};                      // The device that it is on or in; empty: none.
};

struct DeviceKind {
    std::string_view name;
    std::string_view bus;     // "PCI", "ISA", "IDE", "SCSI".
    std::string_view summary; // For -device help.
    std::span<const PropertyKind> properties;
    // Null: the command line itself acts on it.
    Result<PluggedDevice> (*make)(const DeviceContext&, const DeviceRequest&);
    std::string_view rom{};         // The option ROM that it has when no romfile= is given, in the firmware's folders.
    bool rom_boots_network = false; // Only where one may boot from the network: looking for a server takes its time.
    // What firmware calls a PCI device of this kind, and what it boots from behind it: "scsi", "/disk@0,0". Empty: a
    // kind that nobody boots from.
    std::string_view boot_node{}, boot_unit{};
};

std::span<const DeviceKind> bridge_kinds();
std::span<const DeviceKind> display_kinds();
std::span<const DeviceKind> disk_kinds();
std::span<const DeviceKind> isa_kinds();
std::span<const DeviceKind> net_kinds();
std::span<const DeviceKind> virtio_kinds();
std::span<const DeviceKind> virtio_serial_kinds();
std::span<const DeviceKind> virtio_host_kinds();
std::span<const DeviceKind> virtio_input_kinds();

// Properties of what takes a drive, which the command line gives to the drive.
inline constexpr PropertyKind drive_werror{"werror", PropertyKind::Type::text,
                                           "when the host cannot write: enospc, report, ignore or stop (the drive's)"};
inline constexpr PropertyKind drive_rerror{"rerror", PropertyKind::Type::text,
                                           "when it cannot read: report, ignore or stop (the drive's)"};
inline constexpr PropertyKind drive_write_cache{"write-cache", PropertyKind::Type::text,
                                                "on, off or auto (as the drive's cache= says)"};

inline constexpr PropertyKind boot_index{"bootindex", PropertyKind::Type::number,
                                         "firmware tries the devices that have one in its order, before all others"};

// The drive that a request names. Errors: none named, none there.
Result<backends::Disk*> disk_of(const DeviceContext& context, const DeviceRequest& request);

std::vector<const DeviceKind*> device_kinds();
// What every device of the kind's bus takes besides the kind's own.
std::span<const PropertyKind> common_properties(const DeviceKind& kind);
// Null when there is none of that name.
const DeviceKind* find_device_kind(std::string_view name);
// Whether devices of the kind can come and go while the machine runs.
bool hot_pluggable(const DeviceKind& kind);
// Driver and properties, before anything is built.
Result<void> check_device(const DeviceRequest& request);
std::string device_help();                              // -device help
Result<std::string> device_help(std::string_view name); // -device NAME,help

} // namespace calque::machine
