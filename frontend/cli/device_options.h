// -device and -object.
#pragma once

#include "frontend/cli/options.h"

namespace calque::cli {

Result<void> device_option(Options& o, const std::string& text); // -device
Result<void> object_option(Options& o, const std::string& text); // -object

} // namespace calque::cli
