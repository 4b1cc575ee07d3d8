// Network cards.
#include "devices/e1000/e1000.h"
#include "devices/rtl8139/rtl8139.h"
#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_net_registers.h"
#include "frontend/machine/chipset.h"
#include "frontend/machine/kinds/virtio.h"

#include <bit>

namespace calque::machine {

namespace {

using Type = PropertyKind::Type;
using devices::VirtioNet;

constexpr PropertyKind netdev{"netdev", Type::text, "the id of a -netdev"};
constexpr PropertyKind mac{"mac", Type::mac, "the card's address (52:54:00:12:34:56, and counting)"};

Result<devices::NetBackend*> backend_of(const DeviceContext& context, const DeviceRequest& request) {
    const std::string id = request.get("netdev");
    if (id.empty()) return error("-device {} needs netdev=ID, the id of a -netdev", request.driver);
    const auto found = context.backends.nets.find(id);
    if (found == context.backends.nets.end())
        return error("-device {}: there is no -netdev with id={}", request.driver, id);
    return found->second;
}

devices::MacAddress mac_of(const DeviceRequest& request) {
    const auto given = parse_mac(request.get("mac", "52:54:00:12:34:56"));
    return given ? *given : devices::MacAddress{};
}

// Features that can be left out, by QEMU's names.
struct Switch {
    std::string_view name;
    unsigned feature;
};
namespace bits = devices::virtio_net;
constexpr std::array switches{
    Switch{"csum", bits::F_CSUM},
    Switch{"guest_csum", bits::F_GUEST_CSUM},
    Switch{"guest_tso4", bits::F_GUEST_TSO4},
    Switch{"guest_tso6", bits::F_GUEST_TSO6},
    Switch{"host_tso4", bits::F_HOST_TSO4},
    Switch{"host_tso6", bits::F_HOST_TSO6},
    Switch{"mrg_rxbuf", bits::F_MRG_RXBUF},
    Switch{"status", bits::F_STATUS},
    Switch{"ctrl_vq", bits::F_CTRL_VQ},
    Switch{"ctrl_rx", bits::F_CTRL_RX},
    Switch{"ctrl_vlan", bits::F_CTRL_VLAN},
    Switch{"ctrl_mac_addr", bits::F_CTRL_MAC_ADDR},
    Switch{"guest_announce", bits::F_GUEST_ANNOUNCE},
    Switch{"event_idx", devices::virtio::F_EVENT_IDX},
    Switch{"indirect_desc", devices::virtio::F_INDIRECT_DESC},
};

constexpr auto virtio_net_properties = [] {
    std::array<PropertyKind, switches.size() + 11> properties{
        PropertyKind{"mq", Type::boolean, "several pairs of queues (off)"},
        PropertyKind{"queues", Type::number, "how many with mq=on, 1 to 16 (as many as CPUs)"},
        PropertyKind{"rx_queue_size", Type::number, "entries, a power of two from 64 to 1024 (256)"},
        PropertyKind{"tx_queue_size", Type::number, "entries, a power of two from 64 to 1024 (256)"},
        PropertyKind{"host_mtu", Type::number, "the link's MTU, as the driver is told it (not told)"},
        netdev,
        mac,
        virtio_vectors,
        virtio_disable_legacy,
        virtio_disable_modern,
        boot_index};
    for (std::size_t i = 0; i < switches.size(); ++i)
        properties[11 + i] = {switches[i].name, Type::boolean, "a feature, offered to the driver (on)"};
    return properties;
}();

Result<u16> queue_size(const DeviceRequest& request, std::string_view key) {
    const u64 size = request.get_number(key, 256);
    if (size < 64 || size > 1024 || !std::has_single_bit(size))
        return error("-device {}: {}={} is not a power of two from 64 to 1024", request.driver, key, size);
    return static_cast<u16>(size);
}

Result<PluggedDevice> make_virtio_net(const DeviceContext& context, const DeviceRequest& request) {
    auto backend = backend_of(context, request);
    if (!backend) return backend.error();
    VirtioNet::Options options;
    options.mac = mac_of(request);
    const auto rx = queue_size(request, "rx_queue_size"), tx = queue_size(request, "tx_queue_size");
    if (!rx) return rx.error();
    if (!tx) return tx.error();
    options.rx_size = *rx;
    options.tx_size = *tx;
    const u64 mtu = request.get_number("host_mtu", 0);
    if (mtu != 0 && (mtu < 68 || mtu > 65535))
        return error("-device {}: host_mtu={} is not possible: an MTU is 68 to 65535", request.driver, mtu);
    options.mtu = static_cast<u16>(mtu);
    if (request.get_bool("mq", false)) {
        const u64 queues = request.get_number("queues", context.cpus);
        if (queues < 1) return error("-device {}: queues={} is not possible", request.driver, queues);
        options.pairs = static_cast<unsigned>(std::min<u64>(queues, VirtioNet::most_pairs));
    }
    for (const Switch& feature : switches)
        if (!request.get_bool(feature.name, true)) options.without |= u64{1} << feature.feature;
    constexpr u32 class_ethernet = 0x020000;
    return plug_virtio(context, virtio_options(context, request, class_ethernet), devices::virtio::Id::net,
                       VirtioNet::config_size, VirtioNet::queue_count_of(options.pairs), [&](devices::DmaPort& memory) {
                           return std::make_unique<VirtioNet>(context.log, memory, **backend, options, context.name);
                       });
}

constexpr std::array card_properties{netdev, mac, boot_index};

Result<PluggedDevice> make_e1000(const DeviceContext& context, const DeviceRequest& request) {
    auto backend = backend_of(context, request);
    if (!backend) return backend.error();
    auto device =
        std::make_unique<devices::E1000>(context.log, context.memory, **backend, mac_of(request), context.name);
    devices::PciFunction& function = device->function();
    return PluggedDevice{std::move(device), &function};
}

constexpr std::array rtl8139_properties{
    netdev, mac, boot_index,
    PropertyKind{"cplus", Type::boolean,
                 "a C+ with rings of descriptors, or the plain RTL8139C that some drivers want (on)"}};

Result<PluggedDevice> make_rtl8139(const DeviceContext& context, const DeviceRequest& request) {
    auto backend = backend_of(context, request);
    if (!backend) return backend.error();
    const devices::Rtl8139Options options{mac_of(request), request.get_bool("cplus", true)};
    auto device = std::make_unique<devices::Rtl8139>(context.log, context.clock, context.memory, **backend, options,
                                                     context.name);
    devices::PciFunction& function = device->function();
    return PluggedDevice{std::move(device), &function};
}

constexpr std::array kinds{
    DeviceKind{"e1000", "PCI", "Intel 82540EM gigabit network card", card_properties, make_e1000, "efi-e1000.rom", true,
               "ethernet", "/ethernet-phy@0"},
    DeviceKind{"rtl8139", "PCI", "Realtek RTL8139C+ 100 Mb/s network card", rtl8139_properties, make_rtl8139,
               "efi-rtl8139.rom", true, "ethernet", "/ethernet-phy@0"},
    DeviceKind{"virtio-net-pci", "PCI", "the fast network card", virtio_net_properties, make_virtio_net,
               "efi-virtio.rom", true, "ethernet", "/ethernet-phy@0"},
    DeviceKind{"virtio-net", "PCI", "the same", virtio_net_properties, make_virtio_net, "efi-virtio.rom", true,
               "ethernet", "/ethernet-phy@0"},
};

} // namespace

std::span<const DeviceKind> net_kinds() { return kinds; }

} // namespace calque::machine
