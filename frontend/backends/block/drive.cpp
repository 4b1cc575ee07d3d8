#include "frontend/backends/block/drive.h"

#include "frontend/backends/block/overlay_image.h"
#include "frontend/backends/block/raw_image.h"

#include <array>

namespace calque::backends {

namespace {

Result<std::string> find_format(BlockImage& file) {
    std::array<u8, 4> first{};
    if (file.size() >= first.size() && file.read(0, first) != 0)
        return error("'{}' cannot be read; name its format with format=", file.name());
    constexpr std::array<u8, 4> qcow_magic{'Q', 'F', 'I', 0xFB};
    return std::string(first == qcow_magic ? "qcow2" : "raw");
}

} // namespace

Result<std::shared_ptr<BlockImage>> open_image(const DriveOptions& options) {
    RawOptions raw;
    raw.read_only = options.read_only || options.cdrom || options.snapshot;
    raw.cache = options.cache;
    raw.lock = options.lock;
    auto file = RawImage::open(options.file, raw);
    if (!file) return file.error();
    std::string format = options.format;
    if (format.empty()) {
        auto found = find_format(**file);
        if (!found) return found.error();
        format = *found;
    }
    if (format != "raw")
        return error("'{}': format={} does not exist here yet; there is: raw (qemu-img convert -O raw makes one)",
                     options.file, format);
    std::shared_ptr<BlockImage> image = std::move(*file);
    if (!options.snapshot || options.cdrom) return image;
    auto changes = RawImage::temporary(image->size());
    if (!changes) return changes.error();
    return std::shared_ptr<BlockImage>(std::make_shared<OverlayImage>(std::move(image), std::move(*changes)));
}

Result<std::unique_ptr<Disk>> open_drive(IoPool& pool, Log& log, const DriveOptions& options) {
    DiskOptions disk;
    disk.id = options.id;
    disk.serial = options.serial;
    disk.removable = options.cdrom;
    disk.write_cache = !options.cache.writethrough;
    disk.discards = options.discard;
    disk.on_write_error = options.on_write_error;
    disk.on_read_error = options.on_read_error;
    if (options.file.empty()) {
        if (!options.cdrom) return error("the drive {} has no file=; only CD drives may be empty", options.id);
        return std::make_unique<Disk>(pool, log, std::move(disk), nullptr);
    }
    auto image = open_image(options);
    if (!image) return image.error();
    if ((*image)->size() == 0)
        return error("'{}' is empty: a disk needs a size (truncate -s 10G makes one)", options.file);
    return std::make_unique<Disk>(pool, log, std::move(disk), std::move(*image));
}

} // namespace calque::backends
