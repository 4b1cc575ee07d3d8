#include "frontend/backends/block/guarded_image.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace calque::backends {

namespace {
constexpr u64 guarded = 512; // All signatures are in the first sector.
}

int GuardedImage::write(u64 offset, std::span<const u8> data) {
    if (offset < guarded && !data.empty() && offset < image_->size()) {
        std::array<u8, guarded> start{};
        const u64 there = std::min(guarded, image_->size());
        if (const int error = image_->read(0, std::span(start).first(there))) return error;
        std::copy_n(data.begin(), std::min<u64>(data.size(), guarded - offset),
                    start.begin() + static_cast<std::ptrdiff_t>(offset));
        if (const std::string format = probe_format(start); format != "raw") {
            if (report_ && !told_.exchange(true))
                report_(fmt::format("the guest tried to write the header of a {} image to the first sector of '{}', "
                                    "which is refused because nothing said that it is raw; say format=raw to allow it",
                                    format, name()));
            return EPERM;
        }
    }
    return image_->write(offset, data);
}

} // namespace calque::backends
