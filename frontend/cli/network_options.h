// -netdev, -nic, -net, and the network card that a machine has when none of them is given.
#pragma once

#include "frontend/cli/options.h"

namespace calque::cli {

Result<void> netdev_option(Options& options, const std::string& text);
Result<void> nic_option(Options& options, const std::string& text);
Result<void> net_option(Options& options, const std::string& text);
// -object filter-dump, whose parts are given.
Result<void> dump_option(Options& options, machine::DeviceRequest object);
// After all options: the default card, addresses, captures; who uses which network.
Result<void> settle_networks(Options& options);

} // namespace calque::cli
