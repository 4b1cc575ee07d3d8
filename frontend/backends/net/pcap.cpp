#include "frontend/backends/net/pcap.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace calque::backends {

namespace {
constexpr u32 magic = 0xA1B2C3D4, version = 2 | 4u << 16, link_ethernet = 1;
} // namespace

Result<std::unique_ptr<Pcap>> Pcap::create(const std::string& path, std::size_t longest) {
    std::FILE* const file = std::fopen(path.c_str(), "wbe");
    if (!file) return error("the capture file '{}' cannot be written ({})", path, std::strerror(errno));
    std::unique_ptr<Pcap> pcap(new Pcap(file, longest));
    const std::array<u32, 6> header{magic, version, 0, 0, static_cast<u32>(longest), link_ethernet};
    std::fwrite(header.data(), sizeof header, 1, file);
    std::fflush(file);
    return pcap;
}

void Pcap::write(std::span<const u8> frame) {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    const std::size_t kept = std::min(frame.size(), longest_);
    const std::array<u32, 4> header{static_cast<u32>(now.tv_sec), static_cast<u32>(now.tv_nsec / 1000),
                                    static_cast<u32>(kept), static_cast<u32>(frame.size())};
    std::fwrite(header.data(), sizeof header, 1, file_.get());
    std::fwrite(frame.data(), 1, kept, file_.get());
    std::fflush(file_.get());
}

} // namespace calque::backends
