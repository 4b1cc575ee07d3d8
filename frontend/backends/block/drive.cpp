#include "frontend/backends/block/drive.h"

#include "frontend/backends/block/open_image.h"

namespace calque::backends {

Result<std::shared_ptr<BlockImage>> open_drive_image(Log& log, const DriveOptions& options) {
    ImageOptions image;
    image.name = options.file;
    image.format = options.format;
    image.read_only = options.read_only || options.cdrom;
    image.temporary = options.snapshot && !options.cdrom;
    image.cache = options.cache;
    image.lock = options.lock;
    image.report = [&log](const std::string& sentence) { log.write(Channel::disk, sentence); };
    auto opened = options.node ? open_image_node(*options.node, image) : open_image(image);
    if (!opened) return opened.error();
    return std::shared_ptr<BlockImage>(std::move(*opened));
}

Result<std::unique_ptr<Disk>> open_drive(IoPool& pool, Log& log, const DriveOptions& options) {
    DiskOptions disk;
    disk.id = options.id;
    disk.serial = options.serial;
    disk.format = options.format;
    disk.removable = options.removable();
    disk.disc = options.cdrom;
    disk.write_cache = !options.cache.writethrough;
    disk.discards = options.discard;
    disk.on_write_error = options.on_write_error;
    disk.on_read_error = options.on_read_error;
    if (options.file.empty()) {
        if (!options.removable())
            return error("the drive {} has no file=; only CD and floppy drives may be empty", options.id);
        return std::make_unique<Disk>(pool, log, std::move(disk), nullptr);
    }
    const auto open = [&log, options](bool active) {
        DriveOptions now = options;
        now.read_only = options.read_only || !active;
        now.lock = options.lock && active;
        return open_drive_image(log, now);
    };
    const bool inactive = options.inactive && !options.read_only && !options.cdrom && !options.snapshot;
    auto image = open(!inactive);
    if (!image) return image.error();
    if ((*image)->size() == 0)
        return error("'{}' is empty: a disk needs a size (truncate -s 10G makes one)", options.file);
    constexpr u64 largest_diskette = 2880 << 10;
    if (options.interface == DriveOptions::Interface::floppy && (*image)->size() > largest_diskette)
        return error("'{}' is no diskette: it has {} bytes, and the largest diskette {}", options.file,
                     (*image)->size(), largest_diskette);
    auto made = std::make_unique<Disk>(pool, log, std::move(disk), std::move(*image));
    if (!options.snapshot) made->set_reopen(open, !inactive); // Temporary changes would be lost.
    return made;
}

} // namespace calque::backends
