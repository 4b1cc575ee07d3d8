// User networking: a network of the guest's own behind the host's sockets (libslirp), with DHCP, DNS and TFTP.
#pragma once

#include "frontend/backends/net/net_options.h"
#include "frontend/backends/net/net_port.h"
#include "frontend/backends/net/segment_merger.h"

struct Slirp;

namespace calque::backends {

class SlirpPort final : public NetPort, private PollSource {
  public:
    static Result<std::unique_ptr<SlirpPort>> create(Log& log, const NetOptions& options);
    ~SlirpPort() override;

    std::string describe() override;
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
    SlirpPort(Log& log, std::string id) : NetPort(log, std::move(id)) {}
    Result<void> start(const NetOptions& options);
    void transmit(std::span<const u8> frame) override;
    bool transmit_offloaded(std::span<const u8> frame, const devices::FrameOffload& offload) override;
    void poll_set(std::vector<pollfd>& set) override;
    void poll_ready(std::span<const pollfd> ready) override;
    int poll_timeout() override;
    void run_timers();

    Slirp* slirp_ = nullptr;
    bool polled_ = false; // slirp was asked for descriptors in this round.
    u32 timeout_ = 0;
    std::vector<std::unique_ptr<Timer>> timers_;
    std::vector<u8> scratch_;
    SegmentMerger merger_{
        [this](std::span<const u8> frame, const devices::FrameOffload& offload) { deliver(frame, offload); }};
};

} // namespace calque::backends
