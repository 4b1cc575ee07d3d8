// The VGA that is a virtio display too: a hostile driver of both halves, while its screen is looked at.
#include "frontend/machine/kinds/virtio_vga.h"
#include "tests/fuzz/virtio_guest.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    VirtioPciOptions options{"vga0"};
    options.legacy = false;
    Vga::Options vga;
    vga.memory = u64{1} << 20;
    machine::VirtioVga device(m.log, m.clock, m.ram, m.worker, options, VirtioGpu::Options{true, 64, 64}, vga,
                              [&] { m.memory.tell_changed(); });
    device.map_legacy(m.ports, m.memory);
    m.attach(device.function());
    constexpr u64 framebuffer = 0xE000'0000, registers = 0xFEBF'0000;
    Surface surface;
    u16 index = 0;
    unsigned drawn = 0;
    // A resource is made and shown; each number is small, so that it may mean something.
    const auto show = [&](fuzz::Input& input) {
        constexpr u64 at = 0x8000, driver_ring = 0x1000;
        const auto put = [&](u64 where, u64 value, unsigned width) {
            for (unsigned i = 0; i < width; ++i)
                m.ram.bytes[where + i] = static_cast<u8>(value >> (8 * i));
        };
        for (const u32 type : {0x101u, 0x103u}) {
            put(at, type, 4);
            for (unsigned word = 0; word < 6; ++word)
                put(at + 24 + 4 * word, input.byte() % 20u, 4);
            put(0, at, 8), put(8, 72, 4), put(12, 1, 2), put(14, 1, 2);
            put(16, 0xA000, 8), put(24, 1100, 4), put(28, 2, 2), put(30, 0, 2);
            put(driver_ring + 4, 0, 2);
            put(driver_ring + 2, ++index, 2);
            device.virtio().kind().notify(0);
            m.worker.run(4);
        }
    };
    const auto more = [&](fuzz::Input& input) {
        const u8 what = input.byte();
        const u16 value = static_cast<u16>(input.integer(2));
        switch (what & 7) {
        case 0: return show(input);
        case 1:
            m.config_write(0x10, framebuffer, 4);
            m.config_write(0x18, registers, 4);
            return;
        case 2: return m.memory.write(registers + 0x500 + 2 * (what >> 3) % 22, value, 2);
        case 3: return m.ports.write(what & 8 ? 0x3C4 : what & 16 ? 0x3CE : 0x3D4, value, 2);
        case 4: return m.memory.write(framebuffer + u64{value} * 16, what, 8);
        case 5: return device.reset();
        case 6: {
            Archive saver = Archive::saver();
            device.serialize(saver);
            auto state = saver.take();
            if (what & 8) state[value % state.size()] ^= static_cast<u8>(what >> 4);
            Archive loader = Archive::loader(std::move(state));
            device.serialize(loader);
            return;
        }
        default:
            if (++drawn > 8) return; // Each picture may be a large one.
            what & 8 ? static_cast<void>(device.update(surface)) : device.take_picture(surface);
            static_cast<void>(device.text());
            if (what & 16) device.stop_updates();
        }
    };
    fuzz::drive_virtio(m, device.virtio(), VirtioGpu::queues, more, data, size);
    device.take_picture(surface);
    return 0;
}
