// A virtio disk and its rings: registers, memory that the driver fills with anything, answers late or never.
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/devices/fake_disk.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    test::FakeDisk disk(64);
    VirtioBlkOptions options;
    options.queues = 2;
    VirtioPci device(m.log, m.ram, VirtioPciOptions{"blk0", true, true, ~0u, 0x010000}, virtio::Id::block,
                     VirtioBlk::config_size, options.queues, [&](DmaPort& dma) {
                         return std::make_unique<VirtioBlk>(m.log, dma, m.worker, disk, options, "blk0");
                     });
    m.attach(device.function());
    fuzz::drive_virtio(
        m, device, options.queues,
        [&](fuzz::Input& input) {
            disk.failure = input.byte() % 8 ? BlockStatus::ok : BlockStatus::io_error;
            disk.settle(input.byte());
        },
        data, size);
    return 0;
}
