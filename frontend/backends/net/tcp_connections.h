// The TCP connections that a guest has through a network, as far as its frames tell.
#pragma once

#include "base/types.h"

#include <array>
#include <map>
#include <span>
#include <vector>

namespace calque::backends {

// A guest that goes on from a saved state has connections of which nobody else knows any more. One that only waits for
// data would wait for ever; a reset tells it (RFC 9293, 3.5.2).
class TcpConnections {
  public:
    static constexpr std::size_t most = 1024; // Then the one that was silent longest is forgotten.

    void from_guest(std::span<const u8> frame);
    void to_guest(std::span<const u8> frame);

    // Those that are open, for resets_of(): the headers of each one's reset, 54 bytes (IPv4) or 74 (IPv6).
    std::vector<u8> save() const;
    // The frames that reset the connections of save(). What does not fit ends it.
    static std::vector<std::vector<u8>> resets_of(std::span<const u8> saved);
    void forget() { open_.clear(); }
    std::size_t count() const { return open_.size(); }

  private:
    // Addresses (IPv4: four bytes each, then zeros) and ports, the guest's first.
    using Key = std::array<u8, 36>;
    struct Connection {
        std::vector<u8> headers; // Of the guest's latest frame, without options of TCP.
        u64 used = 0;
        bool guest_ended = false, other_ended = false;
    };

    std::map<Key, Connection> open_;
    u64 frames_ = 0;
};

} // namespace calque::backends
