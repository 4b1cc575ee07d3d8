// A virtio function and its rings: registers of both interfaces, and memory that the driver fills with anything.
#include "devices/virtio/virtio_pci.h"
#include "devices/virtio/virtio_rng.h"
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
    fuzz::PciMachine m;
    Zeros source;
    VirtioPci device(m.log, m.ram, VirtioPciOptions{"rng0", true, true, ~0u, 0x00FF00}, virtio::Id::entropy, 0, 1,
                     [&](DmaPort& dma) {
                         return std::make_unique<VirtioRng>(m.log, dma, m.clock, m.worker, source, VirtioRng::Limit{},
                                                            "rng0");
                     });
    m.attach(device.function());
    fuzz::drive_virtio(m, device, 1, {}, data, size);
    return 0;
}
