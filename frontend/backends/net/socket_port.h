// A cable over a socket to another emulator: TCP (each frame behind its length, 32 bits, big-endian), or UDP (a frame a
// datagram). The same as QEMU's, so either may be at the other end.
#pragma once

#include "frontend/backends/net/net_options.h"
#include "frontend/backends/net/net_port.h"
#include "frontend/backends/unique_fd.h"

#include <netinet/in.h>

namespace calque::backends {

class SocketPort final : public NetPort, private PollSource {
  public:
    static Result<std::unique_ptr<SocketPort>> create(Log& log, const NetOptions& options);
    ~SocketPort() override;
    std::string describe() override;

  private:
    SocketPort(Log& log, std::string id) : NetPort(log, std::move(id)) {}
    Result<void> open(const NetOptions& options);
    Result<void> open_udp(const NetOptions& options);
    void transmit(std::span<const u8> frame) override;
    void poll_set(std::vector<pollfd>& set) override;
    void poll_ready(std::span<const pollfd> ready) override;
    void accept_peer();
    void read_stream();
    void read_datagrams();
    void write_pending();
    void disconnect();

    static constexpr std::size_t most_pending = 4 << 20; // Bytes that the peer has not taken; what comes then is lost.
    std::string what_;
    bool datagrams_ = false;
    sockaddr_in peer_{};
    UniqueFd listener_, socket_;
    std::vector<u8> received_;
    std::size_t received_size_ = 0;
    std::vector<u8> pending_;
    std::size_t written_ = 0;
};

} // namespace calque::backends
