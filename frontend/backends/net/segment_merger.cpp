#include "frontend/backends/net/segment_merger.h"

#include "base/byte_order.h"

#include <algorithm>

namespace calque::backends {

namespace {

constexpr std::size_t most_bytes = 60'000;
constexpr u8 TCP_PSH = 0x08, TCP_ACK = 0x10;
constexpr std::size_t SEQUENCE = 4, FLAGS = 13, CHECKSUM = 16;

bool same(std::span<const u8> a, std::span<const u8> b, std::size_t first, std::size_t end) {
    return std::equal(a.begin() + static_cast<std::ptrdiff_t>(first), a.begin() + static_cast<std::ptrdiff_t>(end),
                      b.begin() + static_cast<std::ptrdiff_t>(first));
}

// Data, and nothing else to say.
bool plain(std::span<const u8> frame, const devices::TcpFrame& where) {
    return frame.size() > where.payload && (frame[where.transport + FLAGS] & ~TCP_PSH) == TCP_ACK;
}

// The same flow, acknowledgement, window and options; IPv4's length, identification and checksum may differ.
bool continues(std::span<const u8> a, std::span<const u8> b, const devices::TcpFrame& where) {
    const std::size_t ip = where.network, tcp = where.transport;
    const bool network = where.version6
                             ? same(a, b, 0, ip + 4) && same(a, b, ip + 6, tcp)
                             : same(a, b, 0, ip + 2) && same(a, b, ip + 6, ip + 10) && same(a, b, ip + 12, tcp);
    return network && same(a, b, tcp, tcp + SEQUENCE) && same(a, b, tcp + 8, tcp + FLAGS)
           && same(a, b, tcp + 14, tcp + CHECKSUM) && same(a, b, tcp + CHECKSUM + 2, where.payload);
}

} // namespace

void SegmentMerger::add(std::span<const u8> frame, bool merge) {
    devices::FrameOffload good;
    good.checksum_good = true;
    const auto where = merge ? devices::find_tcp(frame) : std::nullopt;
    if (where && plain(frame, *where)) {
        if (append(frame, *where)) return;
        flush();
        frame_.assign(frame.begin(), frame.end());
        where_ = *where;
        segment_ = frame.size() - where->payload;
        next_ = big32(frame, where->transport + SEQUENCE) + static_cast<u32>(segment_);
        count_ = 1;
        return;
    }
    flush();
    deliver_(frame, good);
}

bool SegmentMerger::append(std::span<const u8> frame, const devices::TcpFrame& where) {
    const std::size_t bytes = frame.size() - where.payload;
    const bool fits = !frame_.empty() && where.payload == where_.payload && where.transport == where_.transport
                      && where.network == where_.network && where.version6 == where_.version6 && bytes <= segment_
                      && frame_.size() + bytes <= most_bytes && big32(frame, where.transport + SEQUENCE) == next_
                      && continues(frame_, frame, where);
    if (!fits) return false;
    const u8 flags = frame[where.transport + FLAGS];
    frame_.insert(frame_.end(), frame.begin() + static_cast<std::ptrdiff_t>(where.payload), frame.end());
    frame_[where.transport + FLAGS] |= flags;
    next_ += static_cast<u32>(bytes);
    ++count_;
    // A short one, or one that is to be passed on, is the last.
    if (bytes < segment_ || (flags & TCP_PSH)) flush();
    return true;
}

void SegmentMerger::flush() {
    if (frame_.empty()) return;
    devices::FrameOffload offload;
    offload.checksum_good = true;
    if (count_ > 1) {
        devices::finish_tcp(frame_, where_, true);
        offload.needs_checksum = true;
        offload.checksum_start = static_cast<u16>(where_.transport);
        offload.checksum_offset = CHECKSUM;
        offload.segments =
            where_.version6 ? devices::FrameOffload::Segments::tcp6 : devices::FrameOffload::Segments::tcp4;
        offload.segment_size = static_cast<u16>(segment_);
    }
    deliver_(frame_, offload);
    frame_.clear();
    count_ = 0;
}

} // namespace calque::backends
