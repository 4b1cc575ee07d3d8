#include "devices/net/offload.h"

#include "base/byte_order.h"

#include <algorithm>

namespace calque::devices {

namespace {

constexpr u16 ETHERTYPE_IPV4 = 0x0800, ETHERTYPE_IPV6 = 0x86DD, ETHERTYPE_VLAN = 0x8100;
constexpr u8 PROTOCOL_TCP = 6;
constexpr u8 TCP_FIN = 0x01, TCP_PSH = 0x08, TCP_CWR = 0x80;

} // namespace

u32 checksum_add(u32 sum, std::span<const u8> bytes) {
    u64 wide = sum;
    std::size_t at = 0;
    for (; at + 4 <= bytes.size(); at += 4)
        wide += big32(bytes, at);
    if (at + 2 <= bytes.size()) {
        wide += big16(bytes, at);
        at += 2;
    }
    if (at < bytes.size()) wide += u32{bytes[at]} << 8;
    wide = (wide & 0xFFFF'FFFF) + (wide >> 32);
    wide = (wide & 0xFFFF'FFFF) + (wide >> 32);
    return (static_cast<u32>(wide) & 0xFFFF) + (static_cast<u32>(wide) >> 16);
}

u16 checksum_fold(u32 sum) {
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return static_cast<u16>(~sum);
}

bool complete_checksum(std::span<u8> frame, const FrameOffload& offload) {
    const std::size_t place = std::size_t{offload.checksum_start} + offload.checksum_offset;
    if (place + 2 > frame.size()) return false;
    const u16 sum = checksum_fold(checksum_add(0, frame.subspan(offload.checksum_start)));
    store_big(frame, place, sum == 0 ? 0xFFFF : sum, 2); // To UDP, 0 says that there is none; elsewhere both are zero.
    return true;
}

std::optional<TcpFrame> find_tcp(std::span<const u8> frame) {
    constexpr std::size_t least_ip = 20, ipv6_header = 40, least_tcp = 20;
    if (frame.size() < least_frame + least_ip + least_tcp) return std::nullopt;
    TcpFrame where{least_frame, 0, 0, false};
    u16 type = big16(frame, 12);
    if (type == ETHERTYPE_VLAN) {
        type = big16(frame, 16);
        where.network += 4;
    }
    const auto ip = frame.subspan(where.network);
    if (ip.size() < least_ip) return std::nullopt;
    if (type == ETHERTYPE_IPV4) {
        const std::size_t length = 4u * (ip[0] & 15);
        const bool fragment = big16(ip, 6) & 0x3FFF;
        if (ip[0] >> 4 != 4 || length < least_ip || fragment || ip[9] != PROTOCOL_TCP) return std::nullopt;
        where.transport = where.network + length;
    } else if (type == ETHERTYPE_IPV6) {
        if (ip.size() < ipv6_header || ip[0] >> 4 != 6 || ip[6] != PROTOCOL_TCP) return std::nullopt;
        where.transport = where.network + ipv6_header;
        where.version6 = true;
    } else {
        return std::nullopt;
    }
    if (frame.size() < where.transport + least_tcp) return std::nullopt;
    const std::size_t header = 4u * (frame[where.transport + 12] >> 4);
    where.payload = where.transport + header;
    if (header < least_tcp || frame.size() < where.payload) return std::nullopt;
    return where;
}

void finish_tcp(std::span<u8> frame, const TcpFrame& where, bool partial) {
    const auto ip = frame.subspan(where.network);
    const auto tcp = frame.subspan(where.transport);
    u32 sum = PROTOCOL_TCP + static_cast<u32>(tcp.size());
    if (where.version6) {
        store_big(ip, 4, tcp.size(), 2);
        sum = checksum_add(sum, ip.subspan(8, 32)); // Both addresses.
    } else {
        store_big(ip, 2, ip.size(), 2);
        store_big(ip, 10, 0, 2);
        store_big(ip, 10, checksum_fold(checksum_add(0, ip.first(where.transport - where.network))), 2);
        sum = checksum_add(sum, ip.subspan(12, 8));
    }
    if (partial) return store_big(tcp, 16, static_cast<u16>(~checksum_fold(sum)), 2);
    store_big(tcp, 16, 0, 2);
    store_big(tcp, 16, checksum_fold(checksum_add(sum, tcp)), 2);
}

bool cut_segments(std::span<const u8> frame, std::size_t size, const std::function<void(std::span<const u8>)>& emit) {
    const auto where = find_tcp(frame);
    if (!where || size == 0) return false;
    const auto headers = frame.first(where->payload), payload = frame.subspan(where->payload);
    const u32 sequence = big32(frame, where->transport + 4);
    const u8 flags = frame[where->transport + 13];
    const u16 identification = big16(frame, where->network + 4);
    std::vector<u8> piece;
    std::size_t at = 0;
    do {
        const auto part = payload.subspan(at, std::min(size, payload.size() - at));
        const bool last = at + part.size() == payload.size();
        piece.assign(headers.begin(), headers.end());
        piece.insert(piece.end(), part.begin(), part.end());
        store_big(piece, where->transport + 4, sequence + at, 4);
        u8 own = flags;
        if (!last) own = static_cast<u8>(own & ~(TCP_FIN | TCP_PSH));
        if (at != 0) own = static_cast<u8>(own & ~TCP_CWR);
        piece[where->transport + 13] = own;
        if (!where->version6) store_big(piece, where->network + 4, identification + at / size, 2);
        finish_tcp(piece, *where);
        emit(piece);
        at += part.size();
    } while (at < payload.size());
    return true;
}

} // namespace calque::devices
