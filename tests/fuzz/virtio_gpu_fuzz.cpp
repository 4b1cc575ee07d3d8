// The display adapter: requests and rings of a hostile driver, while its screen is looked at.
#include "devices/virtio/virtio_gpu.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    VirtioPciOptions options{"gpu0"};
    options.legacy = false;
    VirtioPci device(
        m.log, m.ram, options, virtio::Id::gpu, VirtioGpu::config_size, VirtioGpu::queues, [&](DmaPort& dma) {
            return std::make_unique<VirtioGpu>(m.log, dma, m.worker, VirtioGpu::Options{true, 64, 64}, "gpu0");
        });
    m.attach(device.function());
    auto& gpu = static_cast<VirtioGpu&>(device.kind());
    Surface surface;
    u16 index = 0;
    // A request that comes to the device as one: small numbers, which mean something.
    const auto request = [&](fuzz::Input& input) {
        constexpr u64 at = 0x8000, driver_ring = 0x1000;
        const auto put = [&](u64 where, u64 value, unsigned width) {
            for (unsigned i = 0; i < width; ++i)
                m.ram.bytes[where + i] = static_cast<u8>(value >> (8 * i));
        };
        const u8 type = input.byte();
        put(at, (type & 0x80 ? 0x300 : 0x100) + type % 12u, 4);
        for (unsigned word = 0; word < 12; ++word)
            put(at + 24 + 4 * word, input.byte() % 80u, 4);
        put(0, at, 8), put(8, 72, 4), put(12, 1, 2), put(14, 1, 2);
        put(16, 0xA000, 8), put(24, 1100, 4), put(28, 2, 2), put(30, 0, 2);
        put(driver_ring + 4, 0, 2);
        put(driver_ring + 2, ++index, 2);
        device.kind().notify(0);
        m.worker.run(4);
    };
    const auto host = [&](fuzz::Input& input) {
        if (input.byte() & 3) return request(input);
        static_cast<void>(gpu.update(surface));
        gpu.take_picture(surface);
    };
    fuzz::drive_virtio(m, device, VirtioGpu::queues, host, data, size);
    gpu.take_picture(surface);
    return 0;
}
