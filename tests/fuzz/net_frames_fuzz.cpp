// Frames as the guest makes them: finding headers, cutting segments, merging them, following connections.
#include "devices/net/offload.h"
#include "frontend/backends/net/segment_merger.h"
#include "frontend/backends/net/tcp_connections.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::Input input(data, size);
    std::size_t total = 0;
    backends::SegmentMerger merger(
        [&](std::span<const u8> frame, const devices::FrameOffload&) { total += frame.size(); });
    backends::TcpConnections connections;
    while (!input.empty()) {
        const u8 what = input.byte();
        const std::size_t cut = input.integer(2);
        std::vector<u8> frame = input.bytes(input.byte() | 64);
        merger.add(frame, what & 1);
        connections.from_guest(frame);
        connections.to_guest(frame);
        if (cut >= 16)
            devices::cut_segments(frame, cut, [&](std::span<const u8> piece) { merger.add(piece, what & 2); });
        devices::FrameOffload offload;
        offload.checksum_start = static_cast<u16>(cut);
        offload.checksum_offset = what;
        devices::complete_checksum(frame, offload);
    }
    merger.flush();
    const std::vector<u8> saved = connections.save();
    for (const auto& reset : backends::TcpConnections::resets_of(saved))
        if (reset.size() > saved.size()) std::abort();
    if (backends::TcpConnections::resets_of(saved).size() > connections.count()) std::abort();
    backends::TcpConnections::resets_of({data, size});
    return 0;
}
