#include "devices/virtio/virtio_net.h"

#include "base/bits.h"
#include "base/byte_order.h"
#include "devices/net/offload.h"
#include "devices/virtio/virtio_net_registers.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio;
using namespace virtio_net;

namespace {

constexpr u64 feature(unsigned bit) { return u64{1} << bit; }

u64 features_of(const VirtioNet::Options& options) {
    u64 features = feature(F_CSUM) | feature(F_GUEST_CSUM) | feature(F_MAC) | feature(F_GUEST_TSO4)
                   | feature(F_GUEST_TSO6) | feature(F_GUEST_ECN) | feature(F_HOST_TSO4) | feature(F_HOST_TSO6)
                   | feature(F_HOST_ECN) | feature(F_MRG_RXBUF) | feature(F_STATUS) | feature(F_CTRL_VQ)
                   | feature(F_CTRL_RX) | feature(F_CTRL_VLAN) | feature(F_CTRL_RX_EXTRA) | feature(F_GUEST_ANNOUNCE)
                   | feature(F_CTRL_MAC_ADDR);
    if (options.pairs > 1) features |= feature(F_MQ);
    if (options.mtu) features |= feature(F_MTU);
    return features & ~options.without;
}

constexpr unsigned most_chains_a_turn = 256; // Then others have their turn.

} // namespace

VirtioNet::VirtioNet(Log& log, DmaPort& memory, NetBackend& backend, const Options& options, std::string name)
    : VirtioDevice(log, memory, Id::net, std::move(name), features_of(options)), backend_(backend), options_(options),
      pairs_(std::clamp(options.pairs, 1u, most_pairs)), mac_(options.mac), buffer_(HEADER_SIZE + largest_frame) {
    for (unsigned q = 0; q < queue_count_of(pairs_); ++q) {
        const bool last = q == 2 * pairs_;
        const u16 size = last ? 64 : q % 2 ? options.tx_size : options.rx_size;
        add_queue(backend.worker(), size, [this, q] { queue_handler(q); });
    }
    backend_.set_client(this);
}

VirtioNet::~VirtioNet() { backend_.set_client(nullptr); }

// Virtio 1.1, 5.1.2: without multiqueue, control follows the first pair.
bool VirtioNet::is_control(unsigned queue) const { return queue == (negotiated(F_MQ) ? 2 * pairs_ : 2); }

void VirtioNet::queue_handler(unsigned queue) {
    if (negotiated(F_CTRL_VQ) && is_control(queue)) return control(queue);
    if (queue % 2)
        transmit(queue);
    else
        backend_.resume(); // There are buffers again.
}

std::size_t VirtioNet::header_size() const {
    return negotiated(F_VERSION_1) || negotiated(F_MRG_RXBUF) ? HEADER_SIZE : LEGACY_HEADER_SIZE;
}

// --- To the network

void VirtioNet::transmit(unsigned queue) {
    VirtioChain chain;
    const std::size_t header = header_size();
    for (unsigned done = 0; pop(queue, chain); ++done) {
        const u64 bytes = chain.readable_bytes();
        const bool whole = bytes >= header + least_frame && bytes <= header + largest_frame;
        const auto all = std::span(buffer_).first(whole ? bytes : 0);
        if (whole && !chain.read(memory(), 0, all)) return needs_reset("a frame is not in memory");
        if (!whole || !send(all.first(header), all.subspan(header)))
            log_.trace(Channel::net, "{}: a frame of {} bytes cannot be sent", name(), bytes);
        else if (active_pairs_ > 1)
            remember_flow(all.subspan(header), queue / 2);
        push(queue, chain.head, 0);
        if (done == most_chains_a_turn) {
            schedule(queue);
            break;
        }
    }
    interrupt_if_wanted(queue);
}

// Virtio 1.1, 5.1.6.2. False for a header that makes no sense.
bool VirtioNet::send(std::span<const u8> header, std::span<u8> frame) {
    if (!link_) return true;
    FrameOffload offload;
    offload.needs_checksum = header[FLAGS] & FLAG_NEEDS_CSUM;
    offload.checksum_start = little16(header, CSUM_START);
    offload.checksum_offset = little16(header, CSUM_OFFSET);
    offload.segment_size = little16(header, GSO_SIZE);
    switch (header[GSO_TYPE] & ~GSO_ECN) {
    case GSO_NONE: break;
    case GSO_TCPV4: offload.segments = FrameOffload::Segments::tcp4; break;
    case GSO_TCPV6: offload.segments = FrameOffload::Segments::tcp6; break;
    default: return false;
    }
    const bool large = offload.segments != FrameOffload::Segments::none;
    if (large && offload.segment_size == 0) return false;
    if (offload.needs_checksum && std::size_t{offload.checksum_start} + offload.checksum_offset + 2 > frame.size())
        return false;
    backend_.send(frame, offload);
    return true;
}

// --- From the network

bool VirtioNet::receive(std::span<const u8> frame, const FrameOffload& offload) {
    std::lock_guard lock(mutex());
    if (!running() || !link_ || frame.size() < least_frame || frame.size() > largest_frame) return true;
    if (!filter_.passes(frame, mac_)) return true;
    const unsigned queue = receive_queue(frame);
    if (!virtqueue(queue).usable()) return true;
    std::array<u8, HEADER_SIZE> header{};
    std::vector<u8> finished;
    if (negotiated(F_GUEST_CSUM)) {
        if (offload.needs_checksum) {
            header[FLAGS] = FLAG_NEEDS_CSUM;
            store_little(header, CSUM_START, offload.checksum_start, 2);
            store_little(header, CSUM_OFFSET, offload.checksum_offset, 2);
        } else if (offload.checksum_good) {
            header[FLAGS] = FLAG_DATA_VALID;
        }
    } else if (offload.needs_checksum) {
        finished.assign(frame.begin(), frame.end());
        if (!complete_checksum(finished, offload)) return true;
        frame = finished;
    }
    if (offload.segments != FrameOffload::Segments::none) {
        const auto where = find_tcp(frame);
        if (!where || !takes_large_) return true; // It was not to be sent here.
        header[GSO_TYPE] = static_cast<u8>(offload.segments);
        store_little(header, HDR_LEN, where->payload, 2);
        store_little(header, GSO_SIZE, offload.segment_size, 2);
    }
    return deliver(queue, std::span(header).first(header_size()), frame);
}

// Over as many chains as it takes (virtio 1.1, 5.1.6.4); the header counts them, so it is written last.
bool VirtioNet::deliver(unsigned queue, std::span<const u8> header, std::span<const u8> frame) {
    const u64 total = header.size() + frame.size();
    const bool merge = negotiated(F_MRG_RXBUF);
    u64 room = 0;
    u16 count = 0;
    while (room < total) {
        if (chains_.size() == count) chains_.emplace_back();
        if (!pop(queue, chains_[count])) {
            virtqueue(queue).unpop(count);
            if (!running()) return true;
            virtqueue(queue).set_notifications(true);
            if (virtqueue(queue).waiting() > count) { // More came just now.
                room = count = 0;
                continue;
            }
            return false;
        }
        room += chains_[count++].writable_bytes();
        if (!merge) break;
    }
    std::array<u8, HEADER_SIZE> own{};
    std::copy(header.begin(), header.end(), own.begin());
    if (header.size() == HEADER_SIZE) store_little(own, NUM_BUFFERS, count, 2);
    u64 done = 0;
    for (u16 i = 0; i < count; ++i) {
        const VirtioChain& chain = chains_[i];
        u64 at = 0;
        if (i == 0 && chain.writable_bytes() >= header.size()) {
            if (!chain.write(memory(), 0, std::span(own).first(header.size())))
                return needs_reset("a buffer is not in memory"), true;
            at = header.size();
        }
        const u64 part = std::min<u64>(chain.writable_bytes() - at, frame.size() - done);
        // A buffer that cannot hold the header, or (alone) the frame, comes back empty: the frame is lost.
        const bool fits = at != 0 || i != 0;
        if (fits && !chain.write(memory(), at, frame.subspan(done, part)))
            return needs_reset("a buffer is not in memory"), true;
        done += part;
        if (!virtqueue(queue).fill(i, chain.head, fits && room >= total ? static_cast<u32>(at + part) : 0))
            return needs_reset("the used ring is not in memory"), true;
    }
    if (!virtqueue(queue).publish(count)) return needs_reset("the used ring is not in memory"), true;
    interrupt_if_wanted(queue);
    return true;
}

// --- Several queues: what comes in goes to the processor that sends on the same flow (virtio 1.1, 5.1.6.5.5).

namespace {
// The same for both directions of a flow. Addresses and ports of TCP, everything else is one flow.
u8 flow_hash(std::span<const u8> frame) {
    const auto where = find_tcp(frame);
    if (!where) return 0;
    u32 hash = 0;
    const std::size_t first = where->network + (where->version6 ? 8 : 12), count = where->transport - first + 4;
    for (std::size_t i = 0; i < count && first + i < frame.size(); ++i)
        hash += u32{frame[first + i]} * (i % 2 ? 31 : 1);
    return static_cast<u8>(hash ^ hash >> 8);
}
} // namespace

void VirtioNet::remember_flow(std::span<const u8> frame, unsigned pair) {
    flows_[flow_hash(frame)] = static_cast<u8>(pair);
}

unsigned VirtioNet::receive_queue(std::span<const u8> frame) const {
    return active_pairs_ <= 1 ? 0 : 2 * std::min<unsigned>(flows_[flow_hash(frame)], active_pairs_ - 1);
}

// --- Configuration

std::vector<u8> VirtioNet::config() {
    std::vector<u8> bytes(config_size);
    std::copy(mac_.begin(), mac_.end(), bytes.begin());
    bytes[CONFIG_STATUS] = static_cast<u8>((link_ ? STATUS_LINK_UP : 0) | (announce_ ? STATUS_ANNOUNCE : 0));
    store_little(bytes, CONFIG_PAIRS, pairs_, 2);
    store_little(bytes, CONFIG_MTU, options_.mtu, 2);
    return bytes;
}

// Only legacy drivers set the address here (virtio 1.1, 5.1.4.1).
void VirtioNet::config_written(u64 offset, u64 value, unsigned size) {
    if (negotiated(F_VERSION_1) || negotiated(F_CTRL_MAC_ADDR)) return;
    for (unsigned i = 0; i < size && offset + i < mac_.size(); ++i)
        mac_[offset + i] = static_cast<u8>(value >> (8 * i));
}

// Virtio 1.1, 5.1.3.1: what needs what.
bool VirtioNet::features_fit(u64 features) const {
    const auto has = [&](unsigned f) { return bit(features, f); };
    const auto needs = [&](unsigned f, unsigned other) { return !has(f) || has(other); };
    return needs(F_GUEST_TSO4, F_GUEST_CSUM) && needs(F_GUEST_TSO6, F_GUEST_CSUM) && needs(F_HOST_TSO4, F_CSUM)
           && needs(F_HOST_TSO6, F_CSUM) && needs(F_CTRL_RX, F_CTRL_VQ) && needs(F_CTRL_VLAN, F_CTRL_VQ)
           && needs(F_GUEST_ANNOUNCE, F_CTRL_VQ) && needs(F_MQ, F_CTRL_VQ) && needs(F_CTRL_MAC_ADDR, F_CTRL_VQ);
}

void VirtioNet::started() {
    filter_.filter_vlans = negotiated(F_CTRL_VLAN);
    takes_large_ = negotiated(F_GUEST_TSO4) && negotiated(F_GUEST_TSO6);
}

void VirtioNet::stopped() {
    mac_ = options_.mac;
    filter_ = {};
    active_pairs_ = 1;
    announce_ = false;
    takes_large_ = false;
    flows_ = {};
}

void VirtioNet::set_link(bool up) {
    std::lock_guard lock(mutex());
    if (link_ == up) return;
    link_ = up;
    if (negotiated(F_STATUS)) config_changed();
}

void VirtioNet::save(Archive& archive) {
    archive.field("mac", mac_);
    archive.field("link", link_);
    archive.field("announce", announce_);
    archive.field("active_pairs", active_pairs_);
    archive.field("flows", flows_);
    filter_.serialize(archive);
    if (archive.loading()) {
        if (active_pairs_ == 0 || active_pairs_ > pairs_) archive.fail("the saved network card has other queues");
        // Tells switches where it is now (virtio 1.1, 5.1.6.5.4).
        announce_ = negotiated(F_GUEST_ANNOUNCE);
        if (announce_) config_changed();
    }
}

} // namespace calque::devices
