// A socket (Unix domain, or TCP) as a character backend: a client, or a server for one client at a time.
#pragma once

#include "frontend/backends/chardev.h"

namespace calque::backends {

Result<std::unique_ptr<Chardev>> open_socket_chardev(IoLoop& loop, Log& log, const ChardevOptions& options);

} // namespace calque::backends
