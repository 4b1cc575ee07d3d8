// What the machine asks for while it runs: networks, and words as the command line has them.
#include "frontend/cli/connections.h"
#include "frontend/cli/keyval.h"

namespace calque::cli {

Result<backends::NetPort*> Connections::add_network(const backends::NetOptions& options) {
    auto port = backends::open_net(log_, options);
    if (!port) return error("network {}: {}", options.id, port.error().message);
    return (networks_[options.id] = std::move(*port)).get();
}

void Connections::remove_network(const std::string& id) { networks_.erase(id); }

Result<machine::DeviceRequest> Connections::read_device(const std::string& text) {
    auto kv = KeyValues::parse("-device", text, "driver");
    if (!kv) return kv.error();
    machine::DeviceRequest request{kv->take("driver"), kv->take("id"), {}};
    for (auto& [key, value] : kv->take_all())
        request.properties.push_back({std::move(key), std::move(value)});
    return request;
}

Result<backends::NetOptions> Connections::read_network(const std::string& text) {
    auto kv = KeyValues::parse("-netdev", text, "type");
    if (!kv) return kv.error();
    const std::string kind = kv->take("type");
    auto net = backends::parse_net(kind, kv->take_all());
    if (!net) return error("-netdev {}: {}", kind, net.error().message);
    return net;
}

} // namespace calque::cli
