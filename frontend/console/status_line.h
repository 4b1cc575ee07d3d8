// What the window's status line says.
#pragma once

#include "frontend/machine/activity.h"

#include <string>

namespace calque::console {

// `leds` as devices::InputDevice::leds() has them. Each part has its place, so that the eye finds it.
std::string status_text(bool running, u32 width, u32 height, const machine::Activity& activity, u8 leds);

} // namespace calque::console
