// The balloon: lists of pages of a hostile driver.
#include "devices/virtio/virtio_balloon.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

namespace {
struct NoRam final : RamDiscard {
    void discard_page(PhysicalAddress) override {}
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    ManualClock clock;
    Bus ports(Bus::Kind::ports, log), memory(Bus::Kind::memory, log);
    PciBus pci(log, ports, memory);
    fuzz::NoLines lines;
    fuzz::Ram ram(0x20000);
    NoRam pages;
    devices::test::ManualWorker worker;
    pci.set_interrupt_sink(&lines);
    VirtioPci device(log, ram, VirtioPciOptions{"balloon0", true, true, ~0u, 0x00FF00}, virtio::Id::balloon,
                     VirtioBalloon::config_size, VirtioBalloon::queues, [&](DmaPort& dma) {
                         return std::make_unique<VirtioBalloon>(log, dma, worker, pages,
                                                                VirtioBalloon::Options{64 << 20, true}, "balloon0");
                     });
    static_cast<void>(pci.attach(device.function(), 4, 0));
    auto& balloon = static_cast<VirtioBalloon&>(device.kind());
    fuzz::drive_virtio(
        pci, device, memory, ports, ram, clock, worker, VirtioBalloon::queues,
        [&](fuzz::Input& input) { balloon.set_target(input.integer(8)); }, data, size);
    return 0;
}
