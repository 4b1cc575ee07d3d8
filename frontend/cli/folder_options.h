// -fsdev and -virtfs: folders that the guest shares with the host.
#pragma once

#include "frontend/cli/options.h"

namespace calque::cli {

Result<void> fsdev_option(Options& options, const std::string& text);
Result<void> virtfs_option(Options& options, const std::string& text);

} // namespace calque::cli
