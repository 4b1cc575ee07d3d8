// Where a BIOS image (SeaBIOS, OVMF) goes.
#pragma once

#include "base/result.h"
#include "firmware/platform.h"

#include <string_view>

namespace calque::firmware {

// A ROM ends at 4 GiB, so that the reset vector FFFFFFF0h is in it; its last 128 KiB (or all, when smaller) are seen
// once more below 1 MiB.
struct RomPlacement {
    AddressRange top;   // The whole image.
    AddressRange low;   // Its alias, which ends at 1 MiB.
    u64 low_offset = 0; // Where in the image the alias begins.
};

// Checks the size: 64 KiB multiples, at most 16 MiB. `name` is the file's, for the message.
Result<RomPlacement> place_rom(u64 size, std::string_view name);

} // namespace calque::firmware
