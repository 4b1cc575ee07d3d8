// The network card: rings, headers and commands of a hostile driver, frames of a hostile network.
#include "devices/virtio/virtio_net.h"
#include "tests/devices/net_test_support.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    test::RecordedNet net(m.worker);
    VirtioNet::Options options;
    options.pairs = 2;
    const unsigned queues = VirtioNet::queue_count_of(options.pairs);
    VirtioPci device(m.log, m.ram, VirtioPciOptions{"net0", true, true, ~0u, 0x020000}, virtio::Id::net,
                     VirtioNet::config_size, queues,
                     [&](DmaPort& dma) { return std::make_unique<VirtioNet>(m.log, dma, net, options, "net0"); });
    m.attach(device.function());
    const auto receive = [&](fuzz::Input& input) {
        std::vector<u8> frame = input.bytes(input.integer(2) % 2048);
        if (input.byte() & 1) frame = test::tcp_frame(static_cast<u32>(input.integer(4)), input.integer(2) % 8192);
        FrameOffload offload;
        offload.needs_checksum = input.byte() & 1;
        offload.checksum_start = static_cast<u16>(input.integer(2));
        offload.checksum_offset = static_cast<u16>(input.integer(2));
        offload.segments = input.byte() & 1 ? FrameOffload::Segments::tcp4 : FrameOffload::Segments::none;
        offload.segment_size = static_cast<u16>(input.integer(2));
        net.client->receive(frame, offload);
        net.sent.clear();
    };
    fuzz::drive_virtio(m, device, queues, receive, data, size);
    return 0;
}
