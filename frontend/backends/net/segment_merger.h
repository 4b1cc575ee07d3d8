// Puts TCP segments that follow each other together again: a guest handles one long segment in the time of a short one.
#pragma once

#include "devices/net/offload.h"

#include <functional>
#include <vector>

namespace calque::backends {

// For frames whose checksums are known to be good. One flow at a time; what does not go on the one at hand ends it.
class SegmentMerger {
  public:
    using Deliver = std::function<void(std::span<const u8>, const devices::FrameOffload&)>;
    explicit SegmentMerger(Deliver deliver) : deliver_(std::move(deliver)) {}

    void add(std::span<const u8> frame, bool merge);
    void flush(); // Delivers what is at hand.

  private:
    bool append(std::span<const u8> frame, const devices::TcpFrame& where);

    Deliver deliver_;
    std::vector<u8> frame_; // Empty: none is at hand.
    devices::TcpFrame where_{};
    std::size_t segment_ = 0; // Payload of the first.
    u32 next_ = 0;            // The sequence number that goes on.
    unsigned count_ = 0;
};

} // namespace calque::backends
