// A virtio disk and its rings: registers, memory that the driver fills with anything, answers late or never.
#include "devices/pci/pci_bus.h"
#include "devices/virtio/virtio_blk.h"
#include "devices/virtio/virtio_pci.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/manual_worker.h"
#include "tests/fuzz/device_driver.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    ManualClock clock;
    Bus ports(Bus::Kind::ports, log), memory(Bus::Kind::memory, log);
    PciBus pci(log, ports, memory);
    fuzz::NoLines lines;
    fuzz::Ram ram(0x20000);
    test::FakeDisk disk(64);
    test::ManualWorker worker;
    pci.set_interrupt_sink(&lines);
    VirtioBlkOptions options;
    options.queues = 2;
    VirtioPci device(log, ram, VirtioPciOptions{"blk0", true, true, ~0u, 0x010000}, virtio::Id::block,
                     VirtioBlk::config_size, options.queues, [&](DmaPort& dma) {
                         return std::make_unique<VirtioBlk>(log, dma, worker, disk, options, "blk0");
                     });
    static_cast<void>(pci.attach(device.function(), 4, 0));
    fuzz::drive_virtio(
        pci, device, memory, ports, ram, clock, worker, options.queues,
        [&](fuzz::Input& input) {
            disk.failure = input.byte() % 8 ? BlockStatus::ok : BlockStatus::io_error;
            disk.settle(input.byte());
        },
        data, size);
    return 0;
}
