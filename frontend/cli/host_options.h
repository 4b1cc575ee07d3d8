// Options about the host that libvirt and others always give: good where they ask for what this program does anyway.
#pragma once

#include "frontend/cli/options.h"

namespace calque::cli {

Result<void> overcommit_option(Options& options, const std::string& text);
Result<void> audiodev_option(Options& options, const std::string& text);
Result<void> msg_option(Options& options, const std::string& text);
// -object secret: nothing here has a password or is encrypted, so that nobody reads it.
Result<void> check_secret(const machine::DeviceRequest& secret);

} // namespace calque::cli
