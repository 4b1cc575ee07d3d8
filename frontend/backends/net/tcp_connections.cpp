#include "frontend/backends/net/tcp_connections.h"

#include "base/byte_order.h"
#include "devices/net/offload.h"

#include <algorithm>

namespace calque::backends {

namespace {
constexpr std::size_t ethernet_header = 14, mac_size = 6, tcp_header = 20;
constexpr u8 tcp_fin = 1, tcp_syn = 2, tcp_rst = 4, tcp_ack = 16;
// In a TCP header.
constexpr std::size_t at_sequence = 4, at_acknowledged = 8, at_length = 12, at_flags = 13;

struct Addresses {
    std::size_t at, size; // Of the source; the destination follows.
};
Addresses addresses_of(const devices::TcpFrame& where) {
    return where.version6 ? Addresses{where.network + 8, 16} : Addresses{where.network + 12, 4};
}

template <typename Key> Key key_of(std::span<const u8> frame, const devices::TcpFrame& where, bool from_guest) {
    Key key{};
    const Addresses addresses = addresses_of(where);
    const auto put = [&](std::size_t at, std::size_t size, std::size_t place) {
        std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), size,
                    key.begin() + static_cast<std::ptrdiff_t>(place));
    };
    put(addresses.at, addresses.size, from_guest ? 0 : 16);
    put(addresses.at + addresses.size, addresses.size, from_guest ? 16 : 0);
    put(where.transport, 2, from_guest ? 32 : 34);
    put(where.transport + 2, 2, from_guest ? 34 : 32);
    return key;
}

// To whom sent a frame with these headers, as if from the other end.
std::vector<u8> reset_for(std::span<const u8> frame, const devices::TcpFrame& where) {
    const Addresses addresses = addresses_of(where);
    std::vector<u8> reset(frame.begin(), frame.end());
    const auto swap = [&](std::size_t at, std::size_t size) {
        const auto first = reset.begin() + static_cast<std::ptrdiff_t>(at);
        std::swap_ranges(first, first + static_cast<std::ptrdiff_t>(size), first + static_cast<std::ptrdiff_t>(size));
    };
    swap(0, mac_size);
    swap(addresses.at, addresses.size);
    store_big(reset, where.transport, big16(frame, where.transport + 2), 2);
    store_big(reset, where.transport + 2, big16(frame, where.transport), 2);
    store_big(reset, where.transport + at_sequence, big32(frame, where.transport + at_acknowledged), 4);
    reset[where.transport + at_flags] = tcp_rst;
    devices::finish_tcp(reset, {where.network, where.transport, reset.size(), where.version6});
    return reset;
}

std::size_t size_of_reset(std::span<const u8> frame) {
    if (frame.size() < ethernet_header) return 0;
    const u16 type = big16(frame, ethernet_header - 2);
    const std::size_t network = type == 0x0800 ? 20 : type == 0x86DD ? 40 : 0;
    return network == 0 ? 0 : ethernet_header + network + tcp_header;
}
} // namespace

void TcpConnections::from_guest(std::span<const u8> frame) {
    const auto where = devices::find_tcp(frame);
    if (!where) return;
    const u8 flags = frame[where->transport + at_flags];
    const Key key = key_of<Key>(frame, *where, true);
    if (flags & (tcp_rst | tcp_syn)) open_.erase(key);
    // An acknowledgement says where the guest stands. IP options are not worth the trouble.
    const std::size_t size = size_of_reset(frame);
    if ((flags & (tcp_rst | tcp_ack)) != tcp_ack || where->transport + tcp_header != size) return;
    Connection& connection = open_[key];
    connection.headers.assign(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
    connection.headers[where->transport + at_length] = tcp_header / 4 << 4;
    connection.used = ++frames_;
    connection.guest_ended |= flags & tcp_fin;
    if (open_.size() <= most) return;
    open_.erase(std::min_element(open_.begin(), open_.end(),
                                 [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
}

void TcpConnections::to_guest(std::span<const u8> frame) {
    const auto where = devices::find_tcp(frame);
    if (!where) return;
    const u8 flags = frame[where->transport + at_flags];
    if (!(flags & (tcp_rst | tcp_fin))) return;
    const auto found = open_.find(key_of<Key>(frame, *where, false));
    if (found == open_.end()) return;
    if (flags & tcp_rst)
        open_.erase(found);
    else
        found->second.other_ended = true;
}

std::vector<u8> TcpConnections::save() const {
    std::vector<u8> saved;
    for (const auto& [key, connection] : open_) {
        if (connection.guest_ended && connection.other_ended) continue;
        const std::vector<u8> reset = reset_for(connection.headers, *devices::find_tcp(connection.headers));
        saved.insert(saved.end(), reset.begin(), reset.end());
    }
    return saved;
}

std::vector<std::vector<u8>> TcpConnections::resets_of(std::span<const u8> saved) {
    std::vector<std::vector<u8>> resets;
    while (resets.size() < most) {
        const std::size_t size = size_of_reset(saved);
        if (size == 0 || size > saved.size()) break;
        if (!devices::find_tcp(saved.first(size))) break;
        resets.emplace_back(saved.begin(), saved.begin() + static_cast<std::ptrdiff_t>(size));
        saved = saved.subspan(size);
    }
    return resets;
}

} // namespace calque::backends
