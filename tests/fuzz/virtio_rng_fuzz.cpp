// A virtio function and its rings: registers of both interfaces, and memory that the driver fills with anything.
#include "devices/pci/pci_bus.h"
#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/virtio_rng.h"
#include "tests/devices/manual_worker.h"
#include "tests/fuzz/device_driver.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

namespace {
struct Zeros final : EntropySource {
    std::size_t fill(std::span<u8> bytes) override {
        std::fill(bytes.begin(), bytes.end(), u8{0});
        return bytes.size();
    }
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    ManualClock clock;
    Bus ports(Bus::Kind::ports, log), memory(Bus::Kind::memory, log);
    PciBus pci(log, ports, memory);
    fuzz::NoLines lines;
    fuzz::Ram ram(0x20000);
    Zeros source;
    devices::test::ManualWorker worker;
    pci.set_interrupt_sink(&lines);
    VirtioPci device(
        log, ram, VirtioPciOptions{"rng0", true, true, ~0u, 0x00FF00}, virtio::Id::entropy, 0, 1, [&](DmaPort& dma) {
            return std::make_unique<VirtioRng>(log, dma, clock, worker, source, VirtioRng::Limit{}, "rng0");
        });
    static_cast<void>(pci.attach(device.function(), 4, 0));
    fuzz::drive_virtio(pci, device, memory, ports, ram, clock, worker, 1, {}, data, size);
    return 0;
}
