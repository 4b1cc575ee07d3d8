// The far end of a network card: whatever Ethernet frames go to and come from.
#pragma once

#include "base/types.h"
#include "devices/worker.h"

#include <span>

namespace calque::devices {

// What is left to do to a frame: the work that cards and networks may push off to each other (virtio 1.1, 5.1.6).
struct FrameOffload {
    enum class Segments : u8 { none = 0, tcp4 = 1, tcp6 = 4 };
    // The checksum from `checksum_start` to the end belongs at `checksum_offset` behind that, where the sum of the
    // pseudo header is now.
    bool needs_checksum = false;
    bool checksum_good = false; // Somebody who is believed has checked it.
    u16 checksum_start = 0, checksum_offset = 0;
    // A TCP segment that is longer than the link allows: to be cut into pieces with `segment_size` bytes of payload.
    Segments segments = Segments::none;
    u16 segment_size = 0;
};

inline constexpr std::size_t least_frame = 14;           // Addresses and type.
inline constexpr std::size_t largest_frame = 65536 + 18; // With everything left to do, and a VLAN tag.

// The card. Called on the backend's thread.
class NetClient {
  public:
    virtual ~NetClient() = default;
    // Takes a frame, without its checksum (FCS). False: there is no room now; the backend keeps the frame and offers it
    // again after resume().
    virtual bool receive(std::span<const u8> frame, const FrameOffload& offload) = 0;
    // Whether receive() takes frames with segments left to cut.
    virtual bool takes_large() const { return false; }
    virtual void set_link(bool up) = 0; // The cable is plugged in, or not. Any thread.
};

class NetBackend {
  public:
    virtual ~NetBackend() = default;
    // Where the card works on its queues: the thread that calls it, and on which it calls send().
    virtual Worker& worker() = 0;
    // Null takes the card away. Not on the backend's thread; after it returns the old one is not called any more.
    virtual void set_client(NetClient* client) = 0;
    // A frame from the card, of least_frame to largest_frame bytes. On the worker's thread; never waits for the host,
    // and never calls the client before it returns.
    virtual void send(std::span<const u8> frame, const FrameOffload& offload) = 0;
    virtual void resume() = 0; // The card has room again. Any thread.
};

} // namespace calque::devices
