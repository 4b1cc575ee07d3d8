// Keyboard, mouse and tablet: rings and selections of a hostile driver, while somebody types and points.
#include "devices/virtio/virtio_input.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    VirtioPciOptions options{"input0"};
    options.legacy = false;
    const auto kind = size == 0 ? InputDevice::Kind::tablet : static_cast<InputDevice::Kind>(data[0] % 3);
    VirtioPci device(
        m.log, m.ram, options, virtio::Id::input, VirtioInput::config_size, VirtioInput::queues,
        [&](DmaPort& dma) { return std::make_unique<VirtioInput>(m.log, dma, m.worker, kind, "serial", "input0"); });
    m.attach(device.function());
    auto& hand = static_cast<VirtioInput&>(device.kind());
    const auto host = [&](fuzz::Input& input) {
        const u8 what = input.byte();
        switch (what % 6) {
        case 0: hand.key(static_cast<Key>(input.byte() % static_cast<unsigned>(Key::count)), what & 8); break;
        case 1: hand.button(static_cast<MouseButton>(input.byte() % 5), what & 8); break;
        case 2: hand.move(static_cast<i32>(input.integer(4)), static_cast<i32>(input.integer(4))); break;
        case 3: hand.scroll(static_cast<i32>(input.integer(4))); break;
        default:
            for (unsigned i = 0; i < 1u + input.byte(); ++i)
                hand.place(static_cast<u32>(input.integer(4)), i);
        }
    };
    fuzz::drive_virtio(m, device, VirtioInput::queues, host, data, size);
    return 0;
}
