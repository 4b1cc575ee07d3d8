#include "frontend/backends/net/open.h"

#include "frontend/backends/net/slirp_port.h"
#include "frontend/backends/net/socket_port.h"
#include "frontend/backends/net/tap_port.h"

namespace calque::backends {

namespace {

template <class Port> Result<std::unique_ptr<NetPort>> as_port(Result<std::unique_ptr<Port>> made) {
    if (!made) return made.error();
    return std::unique_ptr<NetPort>(std::move(*made));
}

Result<SlirpPort*> user_network(NetPort& port) {
    if (auto* slirp = dynamic_cast<SlirpPort*>(&port)) return slirp;
    return error("{} is not a user network; only those forward ports", port.id());
}

} // namespace

Result<std::unique_ptr<NetPort>> open_net(Log& log, const NetOptions& options) {
    auto port = options.kind == NetOptions::Kind::user     ? as_port(SlirpPort::create(log, options))
                : options.kind == NetOptions::Kind::socket ? as_port(SocketPort::create(log, options))
                                                           : as_port(TapPort::create(log, options));
    if (!port || options.capture.empty()) return port;
    if (auto captured = (*port)->capture(options.capture, options.capture_length); !captured) return captured.error();
    return port;
}

Result<void> add_host_forward(NetPort& port, const HostForward& forward) {
    auto slirp = user_network(port);
    return slirp ? (*slirp)->add_forward(forward) : Result<void>(slirp.error());
}

Result<void> remove_host_forward(NetPort& port, const HostForward& forward) {
    auto slirp = user_network(port);
    return slirp ? (*slirp)->remove_forward(forward) : Result<void>(slirp.error());
}

} // namespace calque::backends
