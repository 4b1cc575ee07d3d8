// User networking: a network of the guest's own behind the host's sockets (libslirp), with DHCP, DNS and TFTP.
#pragma once

#include "frontend/backends/net/net_options.h"
#include "frontend/backends/net/net_port.h"
#include "frontend/backends/net/segment_merger.h"
#include "frontend/backends/net/tcp_connections.h"

struct Slirp;

namespace calque::backends {

class SlirpPort final : public NetPort, private PollSource {
  public:
    static Result<std::unique_ptr<SlirpPort>> create(Log& log, const NetOptions& options);
    ~SlirpPort() override;

    std::string describe() override;
    std::vector<u8> save_state() override;
    Result<void> load_state(std::span<const u8> state) override;
    // While the machine runs. Not on the port's thread.
    Result<void> add_forward(const HostForward& forward);
    Result<void> remove_forward(const HostForward& forward);

  private:
    struct Callbacks;
    struct Timer {
        unsigned id;
        void* opaque;
        i64 deadline = -1; // Milliseconds of clock_ms(); -1: not set.
    };
    SlirpPort(Log& log, NetOptions options) : NetPort(log, options.id), options_(std::move(options)) {}
    Result<void> start();
    bool forward(const HostForward& forward); // False: the host does not let it.
    void transmit(std::span<const u8> frame) override;
    bool transmit_offloaded(std::span<const u8> frame, const devices::FrameOffload& offload) override;
    void poll_set(std::vector<pollfd>& set) override;
    void poll_ready(std::span<const pollfd> ready) override;
    int poll_timeout() override;
    void run_timers();

    NetOptions options_; // With the forwards that there are now.
    Slirp* slirp_ = nullptr;
    bool polled_ = false; // slirp was asked for descriptors in this round.
    u32 timeout_ = 0;
    std::vector<std::unique_ptr<Timer>> timers_;
    std::vector<u8> scratch_;
    TcpConnections connections_;
    std::vector<std::vector<u8>> resets_; // For the guest, whose saved state has been loaded.
    std::unique_ptr<devices::Task> send_resets_ = worker().make_task([this] {
        for (const auto& reset : std::exchange(resets_, {}))
            deliver(reset, {});
    });
    SegmentMerger merger_{
        [this](std::span<const u8> frame, const devices::FrameOffload& offload) { deliver(frame, offload); }};
};

} // namespace calque::backends
