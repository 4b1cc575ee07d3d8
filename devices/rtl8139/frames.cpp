// Frames of the RTL8139C+, both ways: four buffers and a ring of bytes (datasheet, 9.1), or rings of descriptors (9.2).
#include "base/bits.h"
#include "base/byte_order.h"
#include "devices/net/offload.h"
#include "devices/rtl8139/registers.h"
#include "devices/rtl8139/rtl8139.h"

#include <algorithm>

namespace calque::devices {

using namespace rtl8139;

namespace {

constexpr u16 ETHERTYPE_VLAN = 0x8100;
constexpr u32 header_size = 4, crc_size = 4, least_on_the_wire = 60, longest_received = 4096;
constexpr unsigned most_descriptors = 64; // In a ring (9.2).
constexpr Nanoseconds patience = 2'000'000;

struct Descriptor {
    u32 command, vlan;
    u64 address;
};

// Where UDP over IPv4 begins, and nothing when the frame is something else, or not whole.
std::size_t find_udp(std::span<const u8> frame, std::size_t network) {
    if (frame.size() < network + 20 || frame[network] >> 4 != 4 || frame[network + 9] != 17) return 0;
    const std::size_t at = network + 4 * std::size_t{frame[network] & 15u};
    return at + 8 <= frame.size() && at >= network + 20 ? at : 0;
}

std::size_t network_of(std::span<const u8> frame) {
    return frame.size() >= 18 && big16(frame, 12) == ETHERTYPE_VLAN ? 18 : 14;
}

// The checksum of an IPv4 header, in place.
void finish_ipv4(std::span<u8> frame) {
    const std::size_t at = network_of(frame);
    if (frame.size() < at + 20 || frame[at] >> 4 != 4) return;
    const std::size_t length = 4 * std::size_t{frame[at] & 15u};
    if (length < 20 || at + length > frame.size()) return;
    store_big(frame, at + 10, 0, 2);
    store_big(frame, at + 10, checksum_fold(checksum_add(0, frame.subspan(at, length))), 2);
}

// The same of UDP over IPv4, whatever its place held before.
void finish_udp(std::span<u8> frame) {
    const std::size_t network = network_of(frame), at = find_udp(frame, network);
    if (at == 0) return;
    const std::size_t length = std::min<std::size_t>(big16(frame, at + 4), frame.size() - at);
    if (length < 8) return;
    store_big(frame, at + 6, 0, 2);
    u32 sum = checksum_add(0, frame.subspan(network + 12, 8));
    sum += 17 + static_cast<u32>(length);
    const u16 folded = checksum_fold(checksum_add(sum, frame.subspan(at, length)));
    store_big(frame, at + 6, folded ? folded : 0xFFFF, 2);
}

} // namespace

// --- To the network

void Rtl8139::transmit() {
    std::lock_guard lock(mutex_);
    if (!(get(CR, 1) & CR_TE)) return;
    if (!(get(CPCR, 2) & CPCR_TE)) return transmit_buffers();
    const bool high = transmit_ring(THPDS, state_.high_at), normal = transmit_ring(TNPDS, state_.normal_at);
    if (high || normal) raise(ISR_TOK | ISR_TDU);
}

// The four buffers in turn, as far as the driver has given them to the chip.
void Rtl8139::transmit_buffers() {
    u32 causes = 0;
    for (unsigned done = 0; done < 4; ++done) {
        const u32 at = TSD0 + 4u * state_.next_buffer;
        const u32 tsd = get(at, 4);
        if (tsd & TSD_OWN) break;
        std::vector<u8> frame(tsd & TSD_SIZE);
        const PhysicalAddress from(get(TSAD0 + 4u * state_.next_buffer, 4));
        const bool whole = frame.size() >= least_frame && dma_.dma_read(from, frame);
        if (whole) send(std::move(frame), {});
        put(at, tsd | TSD_OWN | (whole ? TSD_TOK : TSD_TABT), 4);
        causes |= whole ? ISR_TOK : ISR_TER;
        state_.next_buffer = (state_.next_buffer + 1) & 3;
    }
    if (causes) raise(causes);
}

// Until a descriptor is not the chip's. True when there was one.
bool Rtl8139::transmit_ring(u32 ring, u32& next) {
    const u64 base = get(ring, 4) | u64{get(ring + 4, 4)} << 32;
    bool any = false;
    if (base == 0) return any;
    for (unsigned steps = 0; steps < 4 * most_descriptors; ++steps, any = true) {
        const PhysicalAddress place(base + u64{next} * descriptor_size);
        std::array<u8, descriptor_size> raw{};
        if (!dma_.dma_read(place, raw)) return any;
        const Descriptor d{little32(raw, 0), little32(raw, 4), little64(raw, 8)};
        if (!(d.command & DESC_OWN)) return any;
        if (d.command & DESC_FS) {
            state_.frame.clear();
            state_.spoiled = false;
            state_.command = d.command;
            state_.vlan = d.vlan;
        }
        if (!append(d.address, d.command & TXD_LENGTH)) state_.spoiled = true;
        if (d.command & DESC_LS) send_with(state_.command, state_.vlan);
        store_little(raw, 0, d.command & ~DESC_OWN, 4);
        if (!dma_.dma_write(place, std::span(raw).first(4))) return any;
        next = d.command & DESC_EOR || next + 1 >= most_descriptors ? 0 : next + 1;
    }
    transmit_task_->schedule(); // Others have their turn.
    return any;
}

bool Rtl8139::append(u64 address, u32 length) {
    const std::size_t before = state_.frame.size();
    if (length > largest_frame - before) return false;
    state_.frame.resize(before + length);
    return dma_.dma_read(PhysicalAddress(address), std::span(state_.frame).subspan(before));
}

// A frame is whole: what its first descriptor asks the chip to do. It makes checksums whatever their places hold.
void Rtl8139::send_with(u32 command, u32 vlan) {
    std::vector<u8> frame = std::move(state_.frame);
    state_.frame.clear();
    if (std::exchange(state_.spoiled, false) || frame.size() < least_frame) return;
    if (vlan & TXD_TAGC) { // Its bytes stand in the descriptor as they go out.
        const u8 tag[] = {ETHERTYPE_VLAN >> 8, ETHERTYPE_VLAN & 0xFF, static_cast<u8>(vlan),
                          static_cast<u8>(vlan >> 8)};
        frame.insert(frame.begin() + 12, std::begin(tag), std::end(tag));
    }
    if (frame.size() > largest_frame) return;
    FrameOffload offload;
    const auto tcp = find_tcp(frame);
    if (command & TXD_LGSEN) {
        const u32 size = bits(command, TXD_MSS, 11);
        if (!tcp || size == 0) return;
        offload.segments = tcp->version6 ? FrameOffload::Segments::tcp6 : FrameOffload::Segments::tcp4;
        offload.segment_size = static_cast<u16>(size);
    } else {
        if (command & TXD_IPCS) finish_ipv4(frame);
        if ((command & TXD_TCPCS) && tcp) finish_tcp(frame, *tcp);
        if (command & TXD_UDPCS) finish_udp(frame);
    }
    send(std::move(frame), offload);
}

void Rtl8139::send(std::vector<u8> frame, const FrameOffload& offload) {
    ++state_.counters.sent;
    if (!state_.link) return;
    constexpr u32 loopback = 3 << 17; // TCR: both bits are the chip's own loop.
    if ((get(TCR, 4) & loopback) == loopback) {
        log_.unimplemented(Channel::net, "rtl8139.loopback");
        return;
    }
    backend_.send(frame, offload);
}

// --- From the network

// RCR's filters (6.9). Multicasts are let through by six bits of their address's CRC.
Rtl8139::Destination Rtl8139::accepts(std::span<const u8> frame) const {
    const u32 rcr = get(RCR, 4);
    const auto to = frame.first(6);
    if (std::all_of(to.begin(), to.end(), [](u8 byte) { return byte == 0xFF; }))
        return rcr & (RCR_AB | RCR_AAP) ? Destination::broadcast : Destination::none;
    if (to[0] & 1) {
        if (rcr & RCR_AAP) return Destination::multicast;
        u32 crc = ~0u;
        for (const u8 byte : to)
            for (unsigned i = 0; i < 8; ++i)
                crc = (crc << 1) ^ (((crc >> 31) ^ (byte >> i & 1)) ? 0x04C1'1DB7u : 0);
        const u32 index = crc >> 26;
        return (rcr & RCR_AM) && bit(get(MAR0 + index / 32 * 4, 4), index % 32) ? Destination::multicast
                                                                                : Destination::none;
    }
    const bool own = std::equal(to.begin(), to.end(), state_.registers.begin() + IDR0);
    return (own && (rcr & RCR_APM)) || (rcr & RCR_AAP) ? Destination::unicast : Destination::none;
}

bool Rtl8139::receive(std::span<const u8> frame, const FrameOffload& offload) {
    std::lock_guard lock(mutex_);
    if (!(get(CR, 1) & CR_RE) || !state_.link || frame.size() < least_frame) return true;
    if (frame.size() > longest_received || offload.segments != FrameOffload::Segments::none) return true;
    const Destination to = accepts(frame);
    if (to == Destination::none) return true;
    std::vector<u8> bytes(frame.begin(), frame.end());
    if (offload.needs_checksum && !complete_checksum(bytes, offload)) return true;
    bytes.resize(std::max<std::size_t>(bytes.size(), least_on_the_wire));
    const bool plus = get(CPCR, 2) & CPCR_RE;
    if (!(plus ? receive_ring(bytes, to, offload.checksum_good) : receive_bytes(bytes, to))) return false;
    state_.starved = false;
    ++state_.counters.received;
    ++(to == Destination::unicast     ? state_.counters.unicast
       : to == Destination::multicast ? state_.counters.multicast
                                      : state_.counters.broadcast);
    raise(ISR_ROK);
    return true;
}

// The network keeps the frame until the driver has made room, of which it tells by a register or not at all.
bool Rtl8139::no_room(u32 causes) {
    if (!std::exchange(state_.starved, true)) raise(causes);
    again_->arm(clock_.now() + patience);
    return false;
}

u32 Rtl8139::ring_size() const { return 8192u << bits(get(RCR, 4), RCR_RBLEN, 2); }

// CAPR stands 16 bytes before what the driver reads next.
u32 Rtl8139::ring_used() const { return (get(CBR, 2) - get(CAPR, 2) - 16) & (ring_size() - 1); }

// 9.1: a header, the frame and its CRC, whose value nobody looks at; the next begins at a multiple of four.
bool Rtl8139::receive_bytes(std::span<const u8> frame, Destination to) {
    const u32 size = ring_size(), length = static_cast<u32>(frame.size()) + crc_size;
    const u32 total = static_cast<u32>(align_up(header_size + length, 4));
    const u32 at = get(CBR, 2) & (size - 1);
    if (ring_used() + total >= size) return no_room(ISR_RXOVW);
    std::vector<u8> bytes(total);
    const u16 status = static_cast<u16>(RX_ROK
                                        | (to == Destination::unicast     ? RX_PAM
                                           : to == Destination::multicast ? RX_MAR
                                                                          : RX_BAR));
    store_little(bytes, 0, status, 2);
    store_little(bytes, 2, length, 2);
    std::copy(frame.begin(), frame.end(), bytes.begin() + header_size);
    const u64 base = get(RBSTART, 4);
    // With WRAP a frame goes on behind the ring's end, where the driver has left room.
    const u32 before_end = get(RCR, 4) & RCR_WRAP ? total : std::min(total, size - at);
    const auto all = std::span<const u8>(bytes);
    if (!dma_.dma_write(PhysicalAddress(base + at), all.first(before_end))
        || !dma_.dma_write(PhysicalAddress(base), all.subspan(before_end)))
        return true; // Lost.
    put(CBR, (at + total) & (size - 1), 2);
    return true;
}

// 9.2.2: over as many descriptors as it takes, which are all given back together.
bool Rtl8139::receive_ring(std::span<const u8> frame, Destination to, bool good) {
    const u64 base = get(RDSAR, 4) | u64{get(RDSAR + 4, 4)} << 32;
    const auto place = [&](u32 index) { return PhysicalAddress(base + u64{index} * descriptor_size); };
    std::vector<u8> bytes(frame.begin(), frame.end());
    u32 vlan = 0;
    if ((get(CPCR, 2) & CPCR_RX_VLAN) && network_of(bytes) == 18) {
        vlan = RXD_TAVA | bytes[14] | u32{bytes[15]} << 8;
        bytes.erase(bytes.begin() + 12, bytes.begin() + 16);
    }
    const bool tcp = find_tcp(bytes).has_value(), udp = find_udp(bytes, network_of(bytes)) != 0;
    bytes.resize(bytes.size() + crc_size);
    struct Taken {
        u32 index, command;
        u64 address;
        u32 count;
    };
    std::vector<Taken> taken;
    u32 next = state_.receive_at;
    for (std::size_t done = 0; done < bytes.size();) {
        std::array<u8, descriptor_size> raw{};
        if (taken.size() == most_descriptors || !dma_.dma_read(place(next), raw)) return true; // Nowhere to go.
        const u32 command = little32(raw, 0), room = command & RXD_BUFFER;
        if (!(command & DESC_OWN)) return no_room(ISR_RXOVW);
        const u32 count = static_cast<u32>(std::min<std::size_t>(room, bytes.size() - done));
        taken.push_back({next, command, little64(raw, 8), count});
        done += count;
        next = command & DESC_EOR || next + 1 >= most_descriptors ? 0 : next + 1;
    }
    std::size_t done = 0;
    u32 status = to == Destination::unicast ? RXD_PAM : to == Destination::multicast ? RXD_MAR : RXD_BAR;
    // The failure bits of checksums stay clear: what the network delivers is right.
    if ((get(CPCR, 2) & CPCR_RX_CHECKSUM) && good) status |= tcp ? RXD_TCP : udp ? RXD_UDP : 0;
    for (const Taken& one : taken) {
        const auto part = std::span<const u8>(bytes).subspan(done, one.count);
        if (!dma_.dma_write(PhysicalAddress(one.address), part)) return true; // Lost.
        done += one.count;
    }
    // The first is given back last: the driver waits for it.
    for (std::size_t i = taken.size(); i-- > 0;) {
        std::array<u8, 8> raw{};
        const bool first = i == 0, last = i + 1 == taken.size();
        store_little(raw, 0,
                     (taken[i].command & DESC_EOR) | (first ? DESC_FS : 0) | (last ? DESC_LS : 0) | status
                         | (last ? static_cast<u32>(bytes.size()) : taken[i].count),
                     4);
        store_little(raw, 4, vlan, 4);
        if (!dma_.dma_write(place(taken[i].index), raw)) return true;
    }
    state_.receive_at = next;
    return true;
}

} // namespace calque::devices
