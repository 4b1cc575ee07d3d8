#include "frontend/backends/net/tap_port.h"

#include "devices/net/offload.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

namespace calque::backends {

namespace {
// The driver's header of a frame is the one of virtio's legacy interface (virtio 1.1, 5.1.6); the host's byte order.
struct TapHeader {
    u8 flags = 0, segments = 0;
    u16 header_length = 0, segment_size = 0, checksum_start = 0, checksum_offset = 0;
};
static_assert(sizeof(TapHeader) == 10);
constexpr u8 NEEDS_CHECKSUM = 1;
} // namespace

Result<std::unique_ptr<TapPort>> TapPort::create(Log& log, const NetOptions& options) {
    std::unique_ptr<TapPort> port(new TapPort(log, options.id));
    port->tap_ = UniqueFd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!port->tap_)
        return error("/dev/net/tun cannot be opened ({}); a user network (-nic user) needs no such rights",
                     std::strerror(errno));
    if (options.interface_name.size() >= IFNAMSIZ)
        return error("ifname={} is longer than an interface's name can be", options.interface_name);
    ifreq request{};
    std::memcpy(request.ifr_name, options.interface_name.c_str(), options.interface_name.size());
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | (options.vnet_header ? IFF_VNET_HDR : 0));
    if (::ioctl(port->tap_.get(), TUNSETIFF, &request) != 0)
        return error("the interface '{}' cannot be used ({}); make it with 'ip tuntap add mode tap', or start with the "
                     "right to make one",
                     options.interface_name.empty() ? "tap%d" : options.interface_name, std::strerror(errno));
    port->name_ = request.ifr_name;
    port->header_ = options.vnet_header;
    port->buffer_.resize(sizeof(TapHeader) + devices::largest_frame);
    // Towards the guest everything comes complete: that is TUNSETOFFLOAD's default.
    port->loop().add(*port);
    return port;
}

TapPort::~TapPort() { loop().remove(*this); }

std::string TapPort::describe() { return fmt::format("tap, interface {}\n", name_); }

bool TapPort::transmit_offloaded(std::span<const u8> frame, const devices::FrameOffload& offload) {
    if (!header_) return false;
    write(frame, offload);
    return true;
}

void TapPort::write(std::span<const u8> frame, const devices::FrameOffload& offload) {
    TapHeader header;
    if (offload.needs_checksum) {
        header.flags = NEEDS_CHECKSUM;
        header.checksum_start = offload.checksum_start;
        header.checksum_offset = offload.checksum_offset;
    }
    if (offload.segments != devices::FrameOffload::Segments::none) {
        const auto where = devices::find_tcp(frame);
        if (!where) return;
        header.segments = static_cast<u8>(offload.segments);
        header.segment_size = offload.segment_size;
        header.header_length = static_cast<u16>(where->payload);
    }
    iovec parts[2] = {{&header, header_ ? sizeof header : 0}, {const_cast<u8*>(frame.data()), frame.size()}};
    // An interface that is down or full loses the frame.
    [[maybe_unused]] const ssize_t written = ::writev(tap_.get(), parts, 2);
}

void TapPort::poll_set(std::vector<pollfd>& set) {
    if (!backed_up()) set.push_back({tap_.get(), POLLIN, 0});
}

void TapPort::poll_ready(std::span<const pollfd> ready) {
    if (ready.empty() || !(ready[0].revents & POLLIN)) return;
    const std::size_t header = header_ ? sizeof(TapHeader) : 0;
    constexpr unsigned most_at_once = 64;
    for (unsigned i = 0; i < most_at_once && !backed_up(); ++i) {
        const ssize_t got = ::read(tap_.get(), buffer_.data(), buffer_.size());
        if (got < 0) return;
        if (static_cast<std::size_t>(got) < header + devices::least_frame) continue;
        deliver(std::span(buffer_).subspan(header, static_cast<std::size_t>(got) - header), {});
    }
}

} // namespace calque::backends
