// What a monitor says of itself (VESA E-EDID 1.4).
#pragma once

#include "base/types.h"

#include <array>

namespace calque::devices {

// 128 bytes: a digital monitor that prefers `width` by `height` pixels (up to 4095 each) at 60 Hz and takes the usual
// smaller sizes.
std::array<u8, 128> make_edid(u32 width, u32 height);

} // namespace calque::devices
