// -accel: how guest code runs.
#pragma once

#include "frontend/cli/options.h"

namespace calque::cli {

// False for a name that is none.
bool choose_engine(Options& options, const std::string& accel);
Result<void> accel_option(Options& options, const std::string& text);

} // namespace calque::cli
