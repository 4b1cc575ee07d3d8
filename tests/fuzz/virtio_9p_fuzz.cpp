// The shared folder's device: rings of a hostile driver, answers late, too long, or never.
#include "devices/virtio/virtio_9p.h"
#include "tests/fuzz/virtio_guest.h"

#include <deque>

using namespace calque;
using namespace calque::devices;

namespace {
struct LateServer final : FileServer {
    void submit(std::vector<u8> message, std::size_t most, std::function<void(std::vector<u8>)> done) override {
        message.resize(std::min(message.size(), most));
        waiting.emplace_back([message = std::move(message), done = std::move(done)] { done(message); });
    }
    void close_all() override {}
    std::deque<std::function<void()>> waiting;
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    LateServer server;
    VirtioPci device(m.log, m.ram, VirtioPciOptions{"9p0", true, true, ~0u, 0x00FF00}, virtio::Id::plan9,
                     Virtio9p::config_size_for("tag"), Virtio9p::queues, [&](DmaPort& dma) {
                         return std::make_unique<Virtio9p>(m.log, dma, m.worker, server, "tag", "9p0");
                     });
    m.attach(device.function());
    fuzz::drive_virtio(
        m, device, Virtio9p::queues,
        [&](fuzz::Input& input) {
            for (unsigned i = input.byte() % 8; i != 0 && !server.waiting.empty(); --i) {
                const auto answer = std::move(server.waiting.front());
                server.waiting.pop_front();
                answer();
            }
        },
        data, size);
    return 0;
}
