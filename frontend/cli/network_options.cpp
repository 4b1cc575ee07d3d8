#include "frontend/cli/network_options.h"

#include "frontend/cli/keyval.h"
#include "frontend/machine/kinds/kinds.h"

#include <algorithm>

namespace calque::cli {

namespace {

constexpr std::string_view networks = "user, socket, tap";

// The names that -nic's model= knows a card by, and what -device calls it.
struct Model {
    std::string_view name, driver;
};
constexpr std::array models{Model{"virtio-net-pci", "virtio-net-pci"}, Model{"virtio", "virtio-net-pci"},
                            Model{"e1000", "e1000"}, Model{"rtl8139", "rtl8139"}};
constexpr std::string_view default_model = "virtio-net-pci";

bool is_card(const machine::DeviceRequest& device) {
    return device.has("netdev")
           || std::any_of(models.begin(), models.end(), [&](const Model& m) { return m.driver == device.driver; });
}

Result<void> add_network(Options& o, backends::NetOptions net) {
    for (const auto& other : o.networks)
        if (other.id == net.id) return error("-netdev id={} is given twice; names are unique", net.id);
    o.networks.push_back(std::move(net));
    return {};
}

} // namespace

Result<void> netdev_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-netdev", text, "type");
    if (!kv) return kv.error();
    const std::string kind = kv->take("type");
    if (kind == "help") {
        o.print = fmt::format("Networks (-netdev NAME,id=ID,..): {}\n", networks);
        return {};
    }
    o.no_default_nic = true;
    auto net = backends::parse_net(kind, kv->take_all());
    if (!net) return error("-netdev {}: {}", kind, net.error().message);
    if (net->id.empty()) return error("-netdev {} has no id; add id=NAME", kind);
    return add_network(o, std::move(*net));
}

Result<void> nic_option(Options& o, const std::string& text) {
    auto kv = KeyValues::parse("-nic", text, "type");
    if (!kv) return kv.error();
    const std::string kind = kv->take("type");
    o.no_default_nic = true;
    if (kind == "none") return kv->rest("nothing more");
    const std::string model = kv->take("model", default_model);
    if (model == "help" || model == "?") {
        o.print = "Network cards (-nic NETWORK,model=NAME):\n";
        for (const Model& m : models)
            o.print += fmt::format("{}\n", m.name);
        return {};
    }
    const auto known = std::find_if(models.begin(), models.end(), [&](const Model& m) { return m.name == model; });
    if (known == models.end()) {
        std::vector<std::string_view> names;
        for (const Model& m : models)
            names.push_back(m.name);
        const std::string near = machine::nearest_name(model, names);
        return error("-nic model={} does not exist here; there is {}", model, near.empty() ? default_model : near);
    }
    machine::DeviceRequest card{std::string(known->driver), {}, {}};
    for (const char* key : {"mac", "addr"})
        if (kv->has(key)) card.properties.push_back({key, kv->take(key)});
    kv->take("name");
    auto net = backends::parse_net(kind, kv->take_all());
    if (!net) return error("-nic {}: {}", kind, net.error().message);
    if (net->id.empty()) net->id = fmt::format("nic{}", o.networks.size());
    card.properties.push_back({"netdev", net->id});
    if (auto good = machine::check_device(card); !good) return error("-nic {}: {}", kind, good.error().message);
    // Cards of -nic come before those of -device, as their slots do.
    o.machine.devices.insert(o.machine.devices.begin() + static_cast<std::ptrdiff_t>(o.nics++), std::move(card));
    return add_network(o, std::move(*net));
}

Result<void> net_option(Options& o, const std::string& text) {
    if (text != "none") return error("-net {} does not exist here; use -nic {}", text, text == "nic" ? "user" : text);
    o.no_default_nic = true;
    return {};
}

Result<void> dump_option(Options& o, machine::DeviceRequest object) {
    if (object.get("netdev").empty() || object.get("file").empty())
        return error("-object filter-dump needs netdev=ID and file=FILE");
    o.dumps.push_back(std::move(object));
    return {};
}

Result<void> settle_networks(Options& o) {
    if (!o.no_default_nic && !o.no_defaults)
        if (auto added = nic_option(o, "user"); !added) return added;
    for (const auto& dump : o.dumps) {
        const auto net = std::find_if(o.networks.begin(), o.networks.end(),
                                      [&](const auto& n) { return n.id == dump.get("netdev"); });
        if (net == o.networks.end())
            return error("-object filter-dump: there is no -netdev with id={}", dump.get("netdev"));
        net->capture = dump.get("file");
        net->capture_length = std::min<u64>(dump.get_number("maxlen", 65536), 65536 + 64);
    }
    std::vector<std::string> used;
    u8 number = 0x56;
    for (auto& device : o.machine.devices) {
        if (!is_card(device)) continue;
        const std::string net = device.get("netdev");
        if (std::find(used.begin(), used.end(), net) != used.end())
            return error("-device {}: the network {} has a card already; each takes one", device.driver, net);
        used.push_back(net);
        if (!device.has("mac")) device.properties.push_back({"mac", fmt::format("52:54:00:12:34:{:02x}", number)});
        ++number;
    }
    return {};
}

} // namespace calque::cli
