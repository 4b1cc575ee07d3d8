// Opens the networks that options ask for.
#pragma once

#include "frontend/backends/net/net_options.h"
#include "frontend/backends/net/net_port.h"

namespace calque::backends {

Result<std::unique_ptr<NetPort>> open_net(Log& log, const NetOptions& options);

// Forwarding of host ports while the machine runs. An error when the network is not a user network.
Result<void> add_host_forward(NetPort& port, const HostForward& forward);
Result<void> remove_host_forward(NetPort& port, const HostForward& forward);

} // namespace calque::backends
