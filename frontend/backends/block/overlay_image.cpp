#include "frontend/backends/block/overlay_image.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>

namespace calque::backends {

OverlayImage::OverlayImage(std::shared_ptr<BlockImage> base, std::unique_ptr<BlockImage> changes)
    : base_(std::move(base)), changes_(std::move(changes)), size_(base_->size()),
      changed_((size_ / block + 1 + 63) / 64) {}

int OverlayImage::read(u64 offset, std::span<u8> data) {
    if (!in_range(offset, data.size())) return EINVAL;
    std::shared_lock lock(mutex_);
    while (!data.empty()) {
        // As far as blocks come from the same place.
        const bool from_changes = changed(offset / block);
        u64 end = (offset / block + 1) * block;
        while (end - offset < data.size() && changed(end / block) == from_changes)
            end += block;
        const std::size_t part = std::min<u64>(end - offset, data.size());
        BlockImage& image = from_changes ? *changes_ : *base_;
        if (const int error = image.read(offset, data.first(part))) return error;
        data = data.subspan(part);
        offset += part;
    }
    return 0;
}

// What a write leaves of a block comes from the base.
int OverlayImage::copy_block(u64 number) {
    if (changed(number)) return 0;
    std::array<u8, block> bytes;
    const std::span<u8> part(bytes.data(), std::min(block, size_ - number * block));
    if (const int error = base_->read(number * block, part)) return error;
    return changes_->write(number * block, part);
}

// The blocks of a range become the overlay's, about to be written; those at its ends may be covered in part.
int OverlayImage::take(u64 offset, u64 length) {
    const u64 first = offset / block, last = (offset + length - 1) / block;
    if (offset % block)
        if (const int error = copy_block(first)) return error;
    if ((offset + length) % block && offset + length != size_ && (last != first || offset % block == 0))
        if (const int error = copy_block(last)) return error;
    return 0;
}

int OverlayImage::write(u64 offset, std::span<const u8> data) {
    if (!in_range(offset, data.size())) return EINVAL;
    if (data.empty()) return 0;
    std::unique_lock lock(mutex_);
    if (const int error = take(offset, data.size())) return error;
    if (const int error = changes_->write(offset, data)) return error;
    for (u64 n = offset / block; n <= (offset + data.size() - 1) / block; ++n)
        changed_[n / 64] |= u64{1} << (n % 64);
    return 0;
}

int OverlayImage::write_zeroes(u64 offset, u64 length, bool) {
    if (!in_range(offset, length)) return EINVAL;
    if (length == 0) return 0;
    std::unique_lock lock(mutex_);
    if (const int error = take(offset, length)) return error;
    if (const int error = changes_->write_zeroes(offset, length, true)) return error;
    for (u64 n = offset / block; n <= (offset + length - 1) / block; ++n)
        changed_[n / 64] |= u64{1} << (n % 64);
    return 0;
}

int OverlayImage::discard(u64 offset, u64 length) { return write_zeroes(offset, length, true); }

int OverlayImage::resize(u64) { return ENOTSUP; }

} // namespace calque::backends
