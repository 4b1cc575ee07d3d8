// Pictures of a screen as image files.
#pragma once

#include "base/result.h"
#include "devices/display.h"

#include <string_view>
#include <vector>

namespace calque::backends {

std::vector<u8> encode_ppm(const devices::Surface& surface); // Binary PPM (P6).
Result<std::vector<u8>> encode_png(const devices::Surface& surface);
// By name: "ppm", "png".
Result<std::vector<u8>> encode_screenshot(const devices::Surface& surface, std::string_view format);

} // namespace calque::backends
