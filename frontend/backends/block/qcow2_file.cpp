#include "frontend/backends/block/qcow2_file.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace calque::backends::qcow2 {

namespace {
constexpr u64 growth_step = 16 << 20;
}

File::File(std::unique_ptr<BlockImage> image, Header initial, bool read_only, Report report)
    : header(std::move(initial)), image_(std::move(image)), read_only_(read_only), report_(std::move(report)) {}

int File::read(u64 offset, std::span<u8> data) {
    const u64 size = image_->size();
    const u64 there = offset >= size ? 0 : std::min<u64>(data.size(), size - offset);
    std::fill(data.begin() + static_cast<std::ptrdiff_t>(there), data.end(), u8{0});
    return there == 0 ? 0 : image_->read(offset, data.first(there));
}

int File::write(u64 offset, std::span<const u8> data) {
    if (read_only_) return EROFS;
    if (corrupt()) return EIO;
    if (offset + data.size() > image_->size())
        if (const int error = reserve(offset + data.size())) return error;
    return image_->write(offset, data);
}

int File::flush() { return read_only_ ? 0 : image_->flush(); }

int File::discard(u64 offset, u64 length) {
    const u64 size = image_->size();
    if (corrupt() || offset >= size) return 0;
    return image_->discard(offset, std::min(length, size - offset));
}

int File::reserve(u64 end) {
    if (end <= image_->size()) return 0;
    std::lock_guard lock(grow_mutex_);
    if (end <= image_->size()) return 0;
    if (corrupt()) return EIO;
    const u64 rounded = align_up(end, std::max(growth_step, geometry().cluster_size()));
    int error = image_->resize(rounded);
    if (error != 0 && error != ENOTSUP) error = image_->resize(end);
    if (error == ENOTSUP) { // A block device, or a file on a server.
        grows_ = false;
        return ENOSPC;
    }
    return error == EFBIG ? ENOSPC : error;
}

int File::trim(u64 end) {
    std::lock_guard lock(grow_mutex_);
    if (read_only_ || corrupt() || end >= image_->size()) return 0;
    const int error = image_->resize(end);
    return error == ENOTSUP ? 0 : error;
}

bool File::is_wrong(u64 entry) const {
    if ((entry & entry_compressed) != 0) {
        const u64 offset = compressed_place(entry, geometry()).offset;
        return offset < geometry().cluster_size() || offset >= size();
    }
    const u64 offset = entry & entry_offset_mask;
    if ((entry & entry_reserved_mask) != 0 || geometry().in_cluster(offset) != 0) return true;
    if ((entry & entry_zero) != 0 && header.version < 3) return true;
    return offset == 0 ? (entry & entry_copied) != 0 : offset >= size();
}

int File::write_incompatible() {
    std::array<u8, 8> bytes;
    store<u64>(bytes.data(), header.incompatible);
    if (const int error = image_->write(field::incompatible, bytes)) return error;
    return image_->flush();
}

int File::mark_corrupt(const std::string& what) {
    std::lock_guard lock(feature_mutex_);
    if (corrupt_.exchange(true)) return EIO;
    const bool marked = !read_only_ && header.version >= 3;
    report(fmt::format("'{}' is a damaged qcow2 image: {}.{}", image_->name(), what,
                       read_only_ ? "" : " Nothing more is written to it; repair it with qemu-img check -r all"));
    if (marked) {
        header.incompatible |= incompatible::corrupt;
        write_incompatible(); // If that fails too there is nothing left to do.
    }
    return EIO;
}

int File::set_dirty(bool dirty) {
    std::lock_guard lock(feature_mutex_);
    if (read_only_) return EROFS;
    if (corrupt()) return EIO;
    const u64 before = header.incompatible;
    header.incompatible = dirty ? before | incompatible::dirty : before & ~incompatible::dirty;
    if (header.incompatible == before) return 0;
    const int error = write_incompatible();
    if (error != 0) header.incompatible = before;
    return error;
}

void File::report(const std::string& sentence) const {
    if (report_) report_(sentence);
}

} // namespace calque::backends::qcow2
