// USB controllers, and what goes into them.
#pragma once

#include "frontend/machine/kinds/kinds.h"

namespace calque::machine {

std::span<const DeviceKind> usb_kinds();

} // namespace calque::machine
