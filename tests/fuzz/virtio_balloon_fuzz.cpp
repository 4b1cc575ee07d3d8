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
    fuzz::PciMachine m;
    NoRam pages;
    VirtioPci device(m.log, m.ram, VirtioPciOptions{"balloon0", true, true, ~0u, 0x00FF00}, virtio::Id::balloon,
                     VirtioBalloon::config_size, VirtioBalloon::queues, [&](DmaPort& dma) {
                         return std::make_unique<VirtioBalloon>(m.log, dma, m.worker, pages,
                                                                VirtioBalloon::Options{64 << 20, true}, "balloon0");
                     });
    m.attach(device.function());
    auto& balloon = static_cast<VirtioBalloon&>(device.kind());
    fuzz::drive_virtio(
        m, device, VirtioBalloon::queues, [&](fuzz::Input& input) { balloon.set_target(input.integer(8)); }, data,
        size);
    return 0;
}
