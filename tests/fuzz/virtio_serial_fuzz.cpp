// Consoles and ports: rings and control messages of a hostile driver, a host that comes and goes and is slow.
#include "devices/virtio/virtio_serial.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

namespace {
struct FarEnd final : CharBackend {
    void transmit(std::span<const u8>) override {}
    std::size_t transmit_room() override { return room; }
    void set_receiver(Receiver given) override { receiver = std::move(given); }
    void resume() override {}
    std::size_t room = 64;
    Receiver receiver;
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    FarEnd console, channel;
    const unsigned queues = VirtioSerial::queue_count_of(2);
    VirtioPci device(m.log, m.ram, VirtioPciOptions{"serial0", true, true, ~0u, 0x078000}, virtio::Id::console,
                     VirtioSerial::config_size, queues, [&](DmaPort& dma) {
                         auto serial = std::make_unique<VirtioSerial>(m.log, dma, m.worker, 2, "serial0");
                         serial->add_port(0, {&console, "", true});
                         serial->add_port(1, {&channel, "fuzz", false});
                         return serial;
                     });
    m.attach(device.function());
    const auto host = [&](fuzz::Input& input) {
        FarEnd& end = input.byte() & 1 ? console : channel;
        switch (input.byte() % 5) {
        case 0: end.receiver.opened(); break;
        case 1: end.receiver.closed(); break;
        case 2:
            end.room = input.byte();
            end.receiver.drained();
            break;
        default: {
            auto bytes = input.bytes(input.integer(2) % 5000);
            bytes.resize(std::min(bytes.size(), end.receiver.room()));
            if (!bytes.empty()) end.receiver.deliver(bytes);
        }
        }
    };
    fuzz::drive_virtio(m, device, queues, host, data, size);
    return 0;
}
