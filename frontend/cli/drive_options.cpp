#include "frontend/cli/drive_options.h"

#include "frontend/cli/keyval.h"
#include "frontend/machine/kinds/kinds.h"

#include <algorithm>
#include <set>

namespace calque::cli {

using backends::DriveOptions;
using Interface = DriveOptions::Interface;

namespace {

constexpr unsigned ide_places = 4, floppy_places = 2;

// How many drives of an interface there can be; 0: any number.
unsigned places_of(Interface interface) {
    return interface == Interface::ide ? ide_places : interface == Interface::floppy ? floppy_places : 0;
}

std::string_view name_of(Interface interface) {
    switch (interface) {
    case Interface::virtio: return "virtio";
    case Interface::floppy: return "floppy";
    case Interface::pflash: return "pflash";
    default: return "none";
    }
}

Result<void> take_place(KeyValues& kv, DriveOptions& drive) {
    const std::string interface = kv.take("if", "ide");
    if (interface == "ide")
        drive.interface = Interface::ide;
    else if (interface == "virtio")
        drive.interface = Interface::virtio;
    else if (interface == "floppy")
        drive.interface = Interface::floppy;
    else if (interface == "none")
        drive.interface = Interface::none;
    else if (interface == "pflash")
        drive.interface = Interface::pflash;
    else
        return error("-drive if={} does not exist here; there are: ide, virtio, floppy, pflash, none", interface);
    if (kv.has("index")) {
        auto index = kv.take_number("index", 0);
        if (!index) return index.error();
        if (*index > 255) return error("-drive index={} is too large", *index);
        drive.index = static_cast<unsigned>(*index);
    }
    if (kv.has("bus") || kv.has("unit")) {
        auto bus = kv.take_number("bus", 0), unit = kv.take_number("unit", 0);
        if (!bus) return bus.error();
        if (!unit) return unit.error();
        if ((drive.interface != Interface::ide && drive.interface != Interface::pflash) || *bus > 1 || *unit > 1)
            return error("-drive bus={},unit={}: the IDE controller has buses 0 and 1 with units 0 and 1", *bus, *unit);
        drive.index = static_cast<unsigned>(*bus * 2 + *unit);
    }
    if (drive.interface == Interface::pflash && drive.index.value_or(0) > 1)
        return error("-drive if=pflash: there are two flash chips, unit 0 and unit 1");
    const std::string media = kv.take("media", "disk");
    if (media != "disk" && media != "cdrom")
        return error("-drive media={} does not exist; there are: disk, cdrom", media);
    drive.cdrom = media == "cdrom";
    return {};
}

Result<void> take_behaviour(KeyValues& kv, DriveOptions& drive) {
    auto read_only = kv.take_bool(kv.has("read-only") ? "read-only" : "readonly", false);
    if (!read_only) return read_only.error();
    drive.read_only = *read_only;
    auto snapshot = kv.take_bool("snapshot", false);
    if (!snapshot) return snapshot.error();
    drive.snapshot = *snapshot;
    auto cache = backends::parse_cache_mode(kv.take("cache", "writeback"));
    if (!cache) return error("-drive {}", cache.error().message);
    drive.cache = *cache;
    auto on_write = backends::parse_error_action("werror", kv.take("werror", "enospc"));
    if (!on_write) return error("-drive {}", on_write.error().message);
    drive.on_write_error = *on_write;
    auto on_read = backends::parse_error_action("rerror", kv.take("rerror", "report"));
    if (!on_read) return error("-drive {}", on_read.error().message);
    drive.on_read_error = *on_read;
    const std::string discard = kv.take("discard", "ignore");
    if (discard != "unmap" && discard != "on" && discard != "ignore" && discard != "off")
        return error("-drive discard={} does not exist; there are: unmap, ignore", discard);
    drive.discard = discard == "unmap" || discard == "on";
    const std::string locking = kv.take("file.locking", "auto");
    if (locking != "auto" && locking != "on" && locking != "off")
        return error("-drive file.locking={} does not exist; there are: auto, on, off", locking);
    drive.lock = locking != "off";
    return {};
}

} // namespace

Result<DriveOptions> parse_drive(const std::string& text) {
    auto kv = KeyValues::parse("-drive", text);
    if (!kv) return kv.error();
    DriveOptions drive;
    if (auto taken = take_place(*kv, drive); !taken) return taken.error();
    if (auto taken = take_behaviour(*kv, drive); !taken) return taken.error();
    drive.file = kv->take("file");
    drive.format = kv->take("format", kv->take("driver"));
    drive.id = kv->take("id");
    drive.serial = kv->take("serial");
    kv->take("aio");           // Requests always go to threads.
    kv->take("detect-zeroes"); // As if off.
    kv->take("copy-on-read");  // Likewise.
    if (auto rest =
            kv->rest("file, if, index, bus, unit, media, format, id, serial, readonly, snapshot, cache, werror, "
                     "rerror, discard, file.locking");
        !rest)
        return rest.error();
    if (drive.file.empty() && !drive.removable())
        return error("-drive '{}' has no file=; only CD (media=cdrom) and floppy drives may be empty", text);
    return drive;
}

DriveOptions short_drive(const std::string& file, unsigned index, bool cdrom) {
    DriveOptions drive;
    drive.file = file;
    drive.index = index;
    drive.cdrom = cdrom;
    return drive;
}

DriveOptions pflash_drive(const std::string& file) {
    DriveOptions drive;
    drive.file = file;
    drive.interface = Interface::pflash;
    return drive;
}

DriveOptions short_floppy(const std::string& file, unsigned index) {
    DriveOptions drive;
    drive.interface = Interface::floppy;
    drive.file = file;
    drive.index = index;
    return drive;
}

Result<void> assign_drives(std::vector<DriveOptions>& drives, bool snapshot) {
    std::set<std::string> ids;
    for (const Interface interface :
         {Interface::ide, Interface::virtio, Interface::floppy, Interface::pflash, Interface::none}) {
        const unsigned places = places_of(interface);
        const std::string_view kind = interface == Interface::ide ? "IDE" : "floppy";
        std::set<unsigned> taken;
        for (const DriveOptions& drive : drives) {
            if (drive.interface != interface || !drive.index) continue;
            if (places != 0 && *drive.index >= places)
                return error("there is no {} drive with index {}: the PC has {} (0 to {})", kind, *drive.index, places,
                             places - 1);
            if (!taken.insert(*drive.index).second)
                return error("two drives have index {} ('{}' is one): give them different ones, or no index",
                             *drive.index, drive.file);
        }
        for (DriveOptions& drive : drives) {
            if (drive.interface != interface) continue;
            if (!drive.index) {
                unsigned next = 0;
                while (taken.contains(next))
                    ++next;
                if (interface == Interface::pflash && next > 1)
                    return error("there are more than two flash chips; '{}' is one too many", drive.file);
                if (places != 0 && next >= places)
                    return error("there are more than {} {} drives; use if=virtio for '{}'", places, kind, drive.file);
                drive.index = next;
                taken.insert(next);
            }
            if (drive.id.empty()) {
                const unsigned at = *drive.index;
                drive.id = interface == Interface::ide
                               ? fmt::format("ide{}-{}{}", at / 2, drive.cdrom ? "cd" : "hd", at % 2)
                               : fmt::format("{}{}", name_of(interface), at);
            }
            if (!ids.insert(drive.id).second) return error("two drives have id={}; give each its own", drive.id);
            drive.snapshot |= snapshot;
        }
    }
    return {};
}

namespace {
// A property's value, taken out of the request.
std::optional<std::string> take_property(machine::DeviceRequest& device, std::string_view key) {
    if (!device.has(key)) return std::nullopt;
    const std::string value = device.get(key);
    std::erase_if(device.properties, [&](const auto& property) { return property.key == key; });
    return value;
}
} // namespace

Result<void> take_drive_behaviour(std::vector<DriveOptions>& drives, std::vector<machine::DeviceRequest>& devices) {
    for (machine::DeviceRequest& device : devices) {
        const std::string id = device.get("drive");
        const auto drive = std::find_if(drives.begin(), drives.end(), [&](const auto& d) { return d.id == id; });
        if (id.empty() || drive == drives.end()) continue;
        if (device.driver.ends_with("-cd")) drive->cdrom = true;
        for (const char* key : {"werror", "rerror"}) {
            const auto value = take_property(device, key);
            if (!value || *value == "auto") continue;
            const auto action = backends::parse_error_action(key, *value);
            if (!action) return error("-device {}: {}", device.driver, action.error().message);
            (key[0] == 'w' ? drive->on_write_error : drive->on_read_error) = *action;
        }
        const auto cache = take_property(device, "write-cache");
        if (!cache || *cache == "auto") continue;
        const auto on = machine::parse_bool(*cache);
        if (!on) return error("-device {}: write-cache: {}", device.driver, on.error().message);
        drive->cache.writethrough = !*on;
    }
    return {};
}

Result<void> place_ide_devices(std::vector<DriveOptions>& drives, std::vector<machine::DeviceRequest>& devices) {
    bool elsewhere = false; // A controller came that takes them too.
    for (auto device = devices.begin(); device != devices.end();) {
        elsewhere |= device->driver == "ahci" || device->driver == "ich9-ahci";
        const std::string bus = device->get("bus");
        const bool named = bus == "ide.0" || bus == "ide.1";
        if ((device->driver != "ide-hd" && device->driver != "ide-cd") || (bus.empty() ? elsewhere : !named)) {
            ++device;
            continue;
        }
        if (auto good = machine::check_device(*device); !good) return good;
        const std::string id = device->get("drive");
        const auto drive = std::find_if(drives.begin(), drives.end(), [&](const auto& d) { return d.id == id; });
        if (id.empty() || drive == drives.end())
            return error("-device {}: there is no -drive with id={}", device->driver, id);
        if (drive->interface != Interface::none)
            return error("-device {}: the -drive {} has a controller already; give it if=none", device->driver, id);
        drive->interface = Interface::ide;
        drive->index.reset();
        drive->cdrom |= device->driver == "ide-cd";
        if (device->has("serial")) drive->serial = device->get("serial");
        if (device->has("bootindex")) drive->boot_index = device->get_number("bootindex", 0);
        if (named || device->has("unit")) {
            const u64 unit = device->get_number("unit", 0);
            if (unit > 1) return error("-device {}: unit={}: an IDE cable has units 0 and 1", device->driver, unit);
            drive->index = static_cast<unsigned>((bus == "ide.1" ? 2 : 0) + unit);
        }
        device = devices.erase(device);
    }
    return {};
}

Result<void> connect_drives(const std::vector<DriveOptions>& drives, std::vector<machine::DeviceRequest>& devices) {
    std::set<std::string> taken;
    for (const machine::DeviceRequest& device : devices) {
        if (!device.has("drive")) continue;
        const std::string id = device.get("drive");
        const auto drive = std::find_if(drives.begin(), drives.end(), [&](const auto& d) { return d.id == id; });
        if (drive == drives.end()) return error("-device {}: there is no -drive with id={}", device.driver, id);
        if (drive->interface != Interface::none)
            return error("-device {}: the -drive {} has a controller already; give it if=none", device.driver, id);
        if (!taken.insert(id).second) return error("two devices have drive={}; a drive has one", id);
    }
    for (const DriveOptions& drive : drives) {
        if (drive.interface == Interface::none && !taken.contains(drive.id))
            return error("no device takes the -drive {}; add -device virtio-blk-pci,drive={}", drive.id, drive.id);
        if (drive.interface == Interface::virtio) devices.push_back({"virtio-blk-pci", "", {{"drive", drive.id}}});
    }
    return {};
}

} // namespace calque::cli
