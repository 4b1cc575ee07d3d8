// The DSDT: the machine's devices in AML.
#pragma once

#include "firmware/platform.h"

#include <vector>

namespace calque::firmware {

// The definition block without its table header.
std::vector<u8> dsdt_aml(const Platform& platform);

} // namespace calque::firmware
