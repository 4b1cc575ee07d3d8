// Drives, their images and media.
#include "frontend/backends/block/drive.h"
#include "frontend/qmp/commands.h"

#include <array>

namespace calque::qmp {

namespace {

using backends::Disk;

// The -device that a drive is part of; null for those on the PC's own cables.
const machine::DeviceRequest* device_of(Control& control, const Disk& disk) {
    for (const auto& entry : control.machine.chipset().inventory())
        if (entry->request.get("drive") == disk.options().id) return &entry->request;
    return nullptr;
}

Disk* find_disk(Control& control, const std::string& id) {
    for (Disk* disk : control.machine.disks()) {
        const auto* device = device_of(control, *disk);
        if (disk->options().id == id || (device && device->id == id)) return disk;
    }
    return nullptr;
}

Answer no_disk(const std::string& id) {
    return Failure{ErrorClass::device_not_found, fmt::format("there is no drive '{}'; query-block lists them", id)};
}

Object cache_of(const Disk& disk) {
    return Object{{"writeback", disk.write_cache()}, {"direct", false}, {"no-flush", false}};
}

Object inserted(const Disk& disk, const backends::BlockImage& image) {
    const std::string format = disk.options().format.empty() ? "raw" : disk.options().format;
    Object about{
        {"file", image.name()}, {"node-name", disk.options().id}, {"ro", image.read_only()}, {"drv", format},
        {"encrypted", false},   {"backing_file_depth", 0},        {"detect_zeroes", "off"},  {"write_threshold", 0}};
    for (const char* limit : {"bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"})
        about.add(limit, 0);
    about.add("image", Object{{"filename", image.name()}, {"format", format}, {"virtual-size", image.size()}});
    about.add("cache", cache_of(disk));
    return about;
}

Answer query_block(Control& control, const Arguments&) {
    Json::Array all;
    for (const Disk* disk : control.machine.disks()) {
        const auto* device = device_of(control, *disk);
        const auto image = disk->image();
        Object drive{{"device", disk->options().id},
                     {"type", "unknown"},
                     {"removable", disk->options().removable},
                     {"locked", disk->medium_locked()},
                     {"io-status", disk->holds_requests() ? "failed" : "ok"}};
        if (device && !device->id.empty()) drive.add("qdev", device->id);
        if (disk->options().removable) drive.add("tray_open", !image);
        if (image) drive.add("inserted", inserted(*disk, *image));
        all.push_back(drive);
    }
    return all;
}

Answer query_named_block_nodes(Control& control, const Arguments&) {
    Json::Array all;
    for (const Disk* disk : control.machine.disks())
        if (const auto image = disk->image()) all.push_back(inserted(*disk, *image));
    return all;
}

Answer query_blockstats(Control& control, const Arguments&) {
    Json::Array all;
    for (const Disk* disk : control.machine.disks()) {
        const auto* device = device_of(control, *disk);
        const backends::DiskCounters& count = disk->counters();
        Object stats{{"rd_bytes", count.bytes_read.load()},
                     {"wr_bytes", count.bytes_written.load()},
                     {"rd_operations", count.reads.load()},
                     {"wr_operations", count.writes.load()},
                     {"flush_operations", count.flushes.load()},
                     {"unmap_operations", count.discards.load()},
                     {"failed_rd_operations", count.failed_reads.load()},
                     {"failed_wr_operations", count.failed_writes.load()}};
        Object entry{{"device", disk->options().id}, {"node-name", disk->options().id}, {"stats", stats}};
        if (device && !device->id.empty()) entry.add("qdev", device->id);
        all.push_back(entry);
    }
    return all;
}

// --- Media

std::string drive_named(const Arguments& arguments) { return arguments.text("id", arguments.text("device")); }

Answer change(Control& control, const Arguments& arguments, Disk::Image image, bool force) {
    Disk* const disk = find_disk(control, drive_named(arguments));
    if (!disk) return no_disk(drive_named(arguments));
    return disk->change_medium(std::move(image), force);
}

Answer eject(Control& control, const Arguments& arguments) {
    return change(control, arguments, nullptr, arguments.flag("force"));
}

Answer blockdev_change_medium(Control& control, const Arguments& arguments) {
    const Disk* const disk = find_disk(control, drive_named(arguments));
    if (!disk) return no_disk(drive_named(arguments));
    const std::string mode = arguments.text("read-only-mode", "retain");
    backends::DriveOptions options;
    options.file = arguments.text("filename");
    options.format = arguments.text("format");
    options.cdrom = disk->options().disc;
    options.read_only = mode == "read-only" || (mode == "retain" && disk->read_only());
    auto image = backends::open_drive_image(control.machine.log(), options);
    if (!image) return image.error();
    return change(control, arguments, std::move(*image), arguments.flag("force"));
}

constexpr std::array commands{
    Command{"query-block", "", "[BlockInfo]", query_block},
    Command{"query-blockstats", "query-nodes?: bool", "[BlockStats]", query_blockstats},
    Command{"query-named-block-nodes", "flat?: bool", "[BlockDeviceInfo]", query_named_block_nodes},
    Command{"eject", "device?: str, id?: str, force?: bool", "", eject},
    Command{"blockdev-change-medium",
            "device?: str, id?: str, filename: str, format?: str, force?: bool, read-only-mode?: "
            "BlockdevChangeReadOnlyMode",
            "", blockdev_change_medium},
};

} // namespace

std::span<const Command> block_commands() { return commands; }

} // namespace calque::qmp
