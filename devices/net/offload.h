// Checksums and segmentation in software, for whoever has no other way.
#pragma once

#include "devices/net_backend.h"

#include <functional>
#include <optional>
#include <vector>

namespace calque::devices {

// The Internet checksum's sum of bytes, not yet complemented (RFC 1071). `sum` goes on from an earlier piece of even
// length.
u32 checksum_add(u32 sum, std::span<const u8> bytes);
u16 checksum_fold(u32 sum);

// Fills in the checksum that the frame still needs. False when its place is not in the frame.
bool complete_checksum(std::span<u8> frame, const FrameOffload& offload);

// Where the headers of a TCP frame are.
struct TcpFrame {
    std::size_t network;   // Offset of the IP header.
    std::size_t transport; // Of the TCP header.
    std::size_t payload;   // Of the data.
    bool version6;
};
// Nothing when the frame is not TCP over IPv4 (without fragments) or IPv6 (without extensions), or not whole.
std::optional<TcpFrame> find_tcp(std::span<const u8> frame);
// Makes lengths and checksums of a TCP frame right for its size. `partial`: in TCP's place only the pseudo header's
// sum, as FrameOffload::needs_checksum means it.
void finish_tcp(std::span<u8> frame, const TcpFrame& where, bool partial = false);

// Cuts a TCP frame into frames with at most `size` bytes of payload, with checksums, and hands each to `emit`. False
// when it is none.
bool cut_segments(std::span<const u8> frame, std::size_t size, const std::function<void(std::span<const u8>)>& emit);

} // namespace calque::devices
