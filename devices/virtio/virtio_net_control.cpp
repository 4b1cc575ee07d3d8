// The control queue of the network device, and the filters that it sets (virtio 1.1, 5.1.6.5).
#include "base/byte_order.h"
#include "devices/virtio/virtio_net.h"
#include "devices/virtio/virtio_net_registers.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio_net;

namespace {

constexpr std::size_t most_control_bytes = 2 + 2 * (4 + 6 * 1024);

MacAddress address_at(std::span<const u8> bytes) {
    MacAddress mac;
    std::copy_n(bytes.begin(), mac.size(), mac.begin());
    return mac;
}

// One table of addresses from the front of `data`: a count of 32 bits and as many addresses. False: it is cut short.
bool take_table(std::span<const u8>& data, std::vector<MacAddress>& table, bool& overflow) {
    if (data.size() < 4) return false;
    const u64 count = little32(data, 0);
    data = data.subspan(4);
    if (count > data.size() / 6) return false;
    overflow = count > NetFilter::most_addresses;
    table.clear();
    for (u64 i = 0; i < count && !overflow; ++i)
        table.push_back(address_at(data.subspan(6 * i)));
    data = data.subspan(6 * count);
    return true;
}

void serialize_table(Archive& archive, std::string_view name, std::vector<MacAddress>& table) {
    std::vector<u8> bytes;
    for (const MacAddress& mac : table)
        bytes.insert(bytes.end(), mac.begin(), mac.end());
    archive.field(name, bytes);
    if (!archive.loading()) return;
    if (bytes.size() % 6 || bytes.size() / 6 > NetFilter::most_addresses)
        return archive.fail("the saved network card has a table of addresses that is none");
    table.clear();
    for (std::size_t i = 0; i < bytes.size(); i += 6)
        table.push_back(address_at(std::span(bytes).subspan(i)));
}

} // namespace

bool NetFilter::passes(std::span<const u8> frame, const MacAddress& own) const {
    constexpr unsigned ETHERTYPE_VLAN = 0x8100;
    if (filter_vlans && frame.size() >= 18 && (frame[12] << 8 | frame[13]) == ETHERTYPE_VLAN
        && !vlans[(frame[14] << 8 | frame[15]) & 0xFFF])
        return false;
    if (promiscuous) return true;
    const MacAddress to = address_at(frame);
    const auto among = [&](const auto& table) { return std::find(table.begin(), table.end(), to) != table.end(); };
    if (to[0] & 1) {
        if (std::all_of(to.begin(), to.end(), [](u8 byte) { return byte == 0xFF; })) return !no_broadcast;
        return !no_multicast && (all_multicast || multicast_overflow || among(multicast));
    }
    return !no_unicast && (all_unicast || unicast_overflow || to == own || among(unicast));
}

void NetFilter::serialize(Archive& archive) {
    archive.field("promiscuous", promiscuous);
    archive.field("all_multicast", all_multicast);
    archive.field("all_unicast", all_unicast);
    archive.field("no_multicast", no_multicast);
    archive.field("no_unicast", no_unicast);
    archive.field("no_broadcast", no_broadcast);
    archive.field("unicast_overflow", unicast_overflow);
    archive.field("multicast_overflow", multicast_overflow);
    serialize_table(archive, "unicast", unicast);
    serialize_table(archive, "multicast", multicast);
    std::array<u8, 512> bits{};
    for (std::size_t i = 0; i < vlans.size(); ++i)
        if (vlans[i]) bits[i / 8] = static_cast<u8>(bits[i / 8] | 1u << (i % 8));
    archive.bytes("vlans", bits);
    for (std::size_t i = 0; i < vlans.size(); ++i)
        vlans[i] = bits[i / 8] >> (i % 8) & 1;
}

void VirtioNet::control(unsigned queue) {
    VirtioChain chain;
    while (pop(queue, chain)) {
        const u8 answer = execute(chain);
        if (!chain.write(memory(), 0, std::span(&answer, 1))) return needs_reset("a control answer has no place");
        push(queue, chain.head, 1);
    }
    interrupt_if_wanted(queue);
}

u8 VirtioNet::execute(const VirtioChain& chain) {
    const u64 size = chain.readable_bytes();
    if (size < 2 || size > most_control_bytes) return CTRL_ERR;
    std::vector<u8> bytes(size);
    if (!chain.read(memory(), 0, bytes)) return CTRL_ERR;
    const u8 command = bytes[1];
    const std::span<const u8> data = std::span(bytes).subspan(2);
    switch (bytes[0]) {
    case CTRL_RX: return set_receive_mode(command, data);
    case CTRL_MAC: return set_addresses(command, data);
    case CTRL_VLAN: return set_vlan(command, data);
    case CTRL_ANNOUNCE:
        if (command != ANNOUNCE_ACK) return CTRL_ERR;
        announce_ = false;
        return CTRL_OK;
    case CTRL_MQ: {
        if (command != MQ_VQ_PAIRS_SET || data.size() < 2 || !negotiated(F_MQ)) return CTRL_ERR;
        const u16 pairs = little16(data, 0);
        if (pairs == 0 || pairs > pairs_) return CTRL_ERR;
        active_pairs_ = pairs;
        return CTRL_OK;
    }
    default: return CTRL_ERR;
    }
}

u8 VirtioNet::set_receive_mode(u8 command, std::span<const u8> data) {
    if (data.empty()) return CTRL_ERR;
    bool* const modes[] = {&filter_.promiscuous,  &filter_.all_multicast, &filter_.all_unicast,
                           &filter_.no_multicast, &filter_.no_unicast,    &filter_.no_broadcast};
    if (command >= std::size(modes)) return CTRL_ERR;
    *modes[command] = data[0] != 0;
    return CTRL_OK;
}

u8 VirtioNet::set_addresses(u8 command, std::span<const u8> data) {
    if (command == MAC_ADDR_SET) {
        if (data.size() != 6) return CTRL_ERR;
        mac_ = address_at(data);
        return CTRL_OK;
    }
    if (command != MAC_TABLE_SET) return CTRL_ERR;
    NetFilter changed = filter_;
    if (!take_table(data, changed.unicast, changed.unicast_overflow)
        || !take_table(data, changed.multicast, changed.multicast_overflow))
        return CTRL_ERR;
    filter_ = changed;
    return CTRL_OK;
}

u8 VirtioNet::set_vlan(u8 command, std::span<const u8> data) {
    if (data.size() < 2 || command > VLAN_DEL) return CTRL_ERR;
    const u16 vlan = little16(data, 0);
    if (vlan >= filter_.vlans.size()) return CTRL_ERR;
    filter_.vlans[vlan] = command == VLAN_ADD;
    return CTRL_OK;
}

} // namespace calque::devices
