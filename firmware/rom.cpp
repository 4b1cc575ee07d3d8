#include "firmware/rom.h"

#include "firmware/loaders/sizes.h"

#include <algorithm>

namespace calque::firmware {

Result<RomPlacement> place_rom(u64 size, std::string_view name) {
    constexpr u64 unit = 64 * KiB, largest = 16 * MiB, alias = 128 * KiB;
    if (size == 0) return error("BIOS image {} is empty", name);
    if (size % unit != 0)
        return error("BIOS image {} has {} bytes: it must be a multiple of 64 KiB, so it may be truncated or not "
                     "a ROM image",
                     name, size);
    if (size > largest)
        return error("BIOS image {} has {}: at most {} fit below 4 GiB", name, size_text(size), size_text(largest));
    const u64 low = std::min(size, alias);
    return RomPlacement{{4 * GiB - size, size}, {MiB - low, low}, size - low};
}

} // namespace calque::firmware
