// Controllers of disks, and the drives on them.
#include "devices/ahci/ahci.h"
#include "devices/nvme/nvme.h"
#include "devices/scsi/mmc_drive.h"
#include "devices/scsi/scsi_disk.h"
#include "devices/virtio/virtio_scsi.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/kinds.h"
#include "frontend/machine/kinds/virtio.h"

#include <algorithm>
#include <charconv>

namespace calque::machine {

using Type = PropertyKind::Type;

Result<backends::Disk*> disk_of(const DeviceContext& context, const DeviceRequest& request) {
    const std::string id = request.get("drive");
    if (id.empty()) return error("-device {} needs drive=ID, the id of a -drive with if=none", request.driver);
    const auto& disks = context.backends.disks;
    const auto disk = std::find_if(disks.begin(), disks.end(), [&](auto* d) { return d->options().id == id; });
    if (disk == disks.end()) return error("-device {}: there is no -drive with id={}", request.driver, id);
    return *disk;
}

namespace {

// --- Drives

constexpr std::array ide_drive_properties{
    PropertyKind{"drive", Type::text, "the id of a -drive with if=none"},
    PropertyKind{"bus", Type::text, "a port such as ahci0.2 of -device ahci,id=ahci0, or ide.0 (the first with room)"},
    PropertyKind{"unit", Type::number, "on ide.0 and ide.1: 0 or 1"},
    PropertyKind{"serial", Type::text, "what the guest finds as serial number (the drive's)"},
    drive_werror,
    drive_rerror,
    drive_write_cache,
    boot_index,
};

struct Place {
    std::string controller;
    std::optional<unsigned> number;
};

// "ahci0.2" and "ahci0".
Place split_place(const std::string& bus, const DriveControllers& controllers) {
    const std::size_t point = bus.rfind('.');
    const auto known = [&](const std::string& name) {
        return std::any_of(controllers.begin(), controllers.end(), [&](const auto& c) { return c.first == name; });
    };
    unsigned number = 0;
    if (point != bus.npos && known(bus.substr(0, point))) {
        const char* const end = bus.data() + bus.size();
        if (const auto parsed = std::from_chars(bus.data() + point + 1, end, number);
            parsed.ec == std::errc() && parsed.ptr == end)
            return {bus.substr(0, point), number};
    }
    return {bus, std::nullopt};
}

Result<PluggedDevice> make_drive(const DeviceContext& context, const DeviceRequest& request, std::string_view kind) {
    const auto disk = disk_of(context, request);
    if (!disk) return disk.error();
    const bool cd = request.driver.ends_with("-cd");
    const std::string bus = request.get("bus");
    const Place place = split_place(bus, context.controllers);
    for (const auto& [name, controller] : context.controllers) {
        if (controller->kind() != kind || (bus.empty() ? controller->full() : name != place.controller)) continue;
        auto attached = controller->attach(request, place.number, **disk, cd);
        if (!attached) return attached.error();
        PluggedDevice drive;
        drive.boot_path = controller->boot_path + *attached;
        drive.parent = name;
        return drive;
    }
    if (bus.empty())
        return error("-device {}: no controller before it has room; add -device {} before it", request.driver,
                     kind == "IDE" ? "ahci" : "virtio-scsi-pci");
    return error("-device {}: there is no {} controller '{}' before it on the command line", request.driver, kind, bus);
}

Result<PluggedDevice> make_ide_drive(const DeviceContext& context, const DeviceRequest& request) {
    return make_drive(context, request, "IDE");
}

// --- AHCI

class AhciPorts final : public DriveController {
  public:
    explicit AhciPorts(devices::Ahci& device) : device_(device) {}
    std::string_view kind() const override { return "IDE"; }
    bool full() const override { return first_free() == devices::Ahci::ports; }
    Result<std::string> attach(const DeviceRequest& request, std::optional<unsigned> place, backends::Disk& disk,
                               bool cd) override {
        const unsigned port = place.value_or(first_free());
        if (port >= devices::Ahci::ports || request.get_number("unit", 0) != 0)
            return error("-device {}: the ports of {} are {}.0 to {}.{}, without units", request.driver, device_.name(),
                         device_.name(), device_.name(), devices::Ahci::ports - 1);
        if (device_.attached(port))
            return error("-device {}: there is a drive on {}.{} already", request.driver, device_.name(), port);
        device_.attach(port, disk, cd, request.get("serial", fmt::format("CQS{:05}", port + 1)));
        return fmt::format("/drive@{:x}/disk@0", port);
    }

  private:
    unsigned first_free() const {
        unsigned port = 0;
        while (port < devices::Ahci::ports && device_.attached(port))
            ++port;
        return port;
    }
    devices::Ahci& device_;
};

Result<PluggedDevice> make_ahci(const DeviceContext& context, const DeviceRequest& request) {
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    auto device = std::make_unique<devices::Ahci>(context.log, context.memory, *context.backends.worker, context.name);
    devices::PciFunction& function = device->function();
    auto ports = std::make_unique<AhciPorts>(*device);
    return PluggedDevice{std::move(device), &function, std::move(ports)};
}

// --- NVMe

constexpr std::array nvme_properties{
    PropertyKind{"drive", Type::text, "the id of a -drive with if=none"},
    PropertyKind{"serial", Type::text, "what the guest finds as serial number; needed"},
    drive_werror,
    drive_rerror,
    drive_write_cache,
    boot_index,
};

Result<PluggedDevice> make_nvme(const DeviceContext& context, const DeviceRequest& request) {
    const auto disk = disk_of(context, request);
    if (!disk) return disk.error();
    const std::string serial = request.get("serial", (*disk)->serial());
    if (serial.empty() || serial.size() > 20)
        return error("-device {} needs serial=, a text of 1 to 20 characters", request.driver);
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    auto device = std::make_unique<devices::Nvme>(context.log, context.memory, *context.backends.worker, **disk, serial,
                                                  context.name);
    devices::PciFunction& function = device->function();
    return PluggedDevice{std::move(device), &function};
}

// --- virtio-scsi

constexpr std::array scsi_drive_properties{
    PropertyKind{"drive", Type::text, "the id of a -drive with if=none"},
    PropertyKind{"bus", Type::text, "scsi0.0 of -device virtio-scsi-pci,id=scsi0 (the first)"},
    PropertyKind{"channel", Type::number, "0, the only one"},
    PropertyKind{"scsi-id", Type::number, "target, 0 to 255 (the next that is free)"},
    PropertyKind{"lun", Type::number, "logical unit, 0 to 255 (0)"},
    PropertyKind{"serial", Type::text, "what the guest finds as serial number (the drive's)"},
    drive_werror,
    drive_rerror,
    drive_write_cache,
    boot_index,
};

class ScsiTargets final : public DriveController {
  public:
    ScsiTargets(devices::VirtioScsi& device, std::string name) : device_(device), name_(std::move(name)) {}
    std::string_view kind() const override { return "SCSI"; }
    bool full() const override { return false; }
    Result<std::string> attach(const DeviceRequest& request, std::optional<unsigned> place, backends::Disk& disk,
                               bool cd) override {
        using devices::VirtioScsi;
        if (place.value_or(0) != 0 || request.get_number("channel", 0) != 0)
            return error("-device {}: {} has one bus, {}.0, with one channel, 0", request.driver, name_, name_);
        const u64 lun = request.get_number("lun", 0);
        u64 target = request.get_number("scsi-id", 0);
        while (!request.has("scsi-id") && target < VirtioScsi::highest_target
               && device_.attached(static_cast<unsigned>(target), static_cast<unsigned>(lun)))
            ++target;
        if (target > VirtioScsi::highest_target || lun > VirtioScsi::highest_lun)
            return error("-device {}: scsi-id is 0 to {} and lun 0 to {}", request.driver, VirtioScsi::highest_target,
                         VirtioScsi::highest_lun);
        const std::string serial = request.get("serial", fmt::format("CQV{:03}-{:03}", target, lun));
        std::unique_ptr<devices::ScsiUnit> unit;
        if (cd)
            unit = std::make_unique<devices::MmcDrive>(disk, false, serial);
        else
            unit = std::make_unique<devices::ScsiDisk>(disk, serial);
        if (!device_.attach(static_cast<unsigned>(target), static_cast<unsigned>(lun), std::move(unit)))
            return error("-device {}: target {} of {} has a lun {} already", request.driver, target, name_, lun);
        return fmt::format("/channel@0/disk@{:x},{:x}", target, lun);
    }

  private:
    devices::VirtioScsi& device_;
    const std::string name_;
};

Result<PluggedDevice> make_scsi_drive(const DeviceContext& context, const DeviceRequest& request) {
    return make_drive(context, request, "SCSI");
}

constexpr std::array virtio_scsi_properties{
    PropertyKind{"num_queues", Type::number, "request queues, 1 to 64 (1)"},
    PropertyKind{"virtqueue_size", Type::number, "entries of each, a power of two, 4 to 1024 (256)"}, virtio_vectors,
    virtio_disable_legacy, virtio_disable_modern};

Result<PluggedDevice> make_virtio_scsi(const DeviceContext& context, const DeviceRequest& request) {
    if (!context.backends.worker) return error("-device {} has nothing to run on here", request.driver);
    const u64 queues = request.get_number("num_queues", 1), size = request.get_number("virtqueue_size", 256);
    if (queues < 1 || queues > 64) return error("-device {}: num_queues is 1 to 64", request.driver);
    if (size < 4 || size > devices::virtio::largest_queue || (size & (size - 1)))
        return error("-device {}: virtqueue_size is a power of two from 4 to {}", request.driver,
                     devices::virtio::largest_queue);
    devices::VirtioScsiOptions options;
    options.queues = static_cast<unsigned>(queues);
    options.queue_size = static_cast<u16>(size);
    constexpr u32 class_scsi = 0x010000;
    devices::VirtioScsi* scsi = nullptr;
    auto plugged = plug_virtio(context, virtio_options(context, request, class_scsi), devices::virtio::Id::scsi,
                               devices::VirtioScsi::config_size, options.queues + 2, [&](devices::DmaPort& memory) {
                                   auto device = std::make_unique<devices::VirtioScsi>(
                                       context.log, memory, *context.backends.worker, options, context.name);
                                   scsi = device.get();
                                   return device;
                               });
    if (plugged) plugged->drives = std::make_unique<ScsiTargets>(*scsi, context.name);
    return plugged;
}

constexpr std::array kinds{
    DeviceKind{"virtio-scsi-pci",
               "PCI",
               "a SCSI host for disks and CD drives",
               virtio_scsi_properties,
               make_virtio_scsi,
               {},
               false,
               "scsi"},
    DeviceKind{"virtio-scsi", "PCI", "the same", virtio_scsi_properties, make_virtio_scsi, {}, false, "scsi"},
    DeviceKind{"scsi-hd", "SCSI", "a disk on a SCSI host", scsi_drive_properties, make_scsi_drive},
    DeviceKind{"scsi-cd", "SCSI", "a CD/DVD drive on a SCSI host", scsi_drive_properties, make_scsi_drive},
    DeviceKind{"nvme",
               "PCI",
               "an NVMe controller with one disk",
               nvme_properties,
               make_nvme,
               {},
               false,
               "pci8086,5845",
               "/namespace@1,0"}, // The identifiers under which firmware knows NVMe.
    DeviceKind{"ahci", "PCI", "Intel ICH9 SATA controller, six ports", {}, make_ahci, {}, false, "pci8086,2922"},
    DeviceKind{"ich9-ahci", "PCI", "the same", {}, make_ahci, {}, false, "pci8086,2922"},
    DeviceKind{"ide-hd", "IDE", "a disk on a SATA or IDE controller", ide_drive_properties, make_ide_drive},
    DeviceKind{"ide-cd", "IDE", "a CD/DVD drive on a SATA or IDE controller", ide_drive_properties, make_ide_drive},
};

} // namespace

std::span<const DeviceKind> disk_kinds() { return kinds; }

} // namespace calque::machine
