// A network interface of the host's (Linux's TUN/TAP driver).
#pragma once

#include "frontend/backends/net/net_options.h"
#include "frontend/backends/net/net_port.h"
#include "frontend/backends/unique_fd.h"

namespace calque::backends {

class TapPort final : public NetPort, private PollSource {
  public:
    static Result<std::unique_ptr<TapPort>> create(Log& log, const NetOptions& options);
    ~TapPort() override;
    std::string describe() override;

  private:
    TapPort(Log& log, std::string id) : NetPort(log, std::move(id)) {}
    void transmit(std::span<const u8> frame) override { write(frame, {}); }
    bool transmit_offloaded(std::span<const u8> frame, const devices::FrameOffload& offload) override;
    void write(std::span<const u8> frame, const devices::FrameOffload& offload);
    void poll_set(std::vector<pollfd>& set) override;
    void poll_ready(std::span<const pollfd> ready) override;

    UniqueFd tap_;
    std::string name_;
    bool header_ = false; // Frames go with a header that says what is left to do.
    std::vector<u8> buffer_;
};

} // namespace calque::backends
