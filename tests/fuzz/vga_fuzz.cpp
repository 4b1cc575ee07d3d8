// The VGA: registers of any value, and pictures of what they ask for.
#include "devices/pci/pci_bus.h"
#include "devices/vga/vga.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    ManualClock clock;
    Bus ports(Bus::Kind::ports, log), memory(Bus::Kind::memory, log);
    PciBus pci(log, ports, memory);
    fuzz::NoLines lines;
    pci.set_interrupt_sink(&lines);
    Vga::Options options;
    options.memory = u64{1} << 20;
    Vga device(
        log, clock, options, [&] { memory.tell_changed(); }, "vga");
    device.map_legacy(ports, memory);
    static_cast<void>(pci.attach(device.function(), 2, 0));
    constexpr u64 framebuffer = 0xE000'0000, registers = 0xFEBF'0000;
    const auto begin = [&] {
        pci.config_write(0, 2 << 3, 0x10, framebuffer, 4);
        pci.config_write(0, 2 << 3, 0x18, registers, 4);
        pci.config_write(0, 2 << 3, 0x04, 3, 2);
        memory.write(registers + 0x402, 0x67, 1); // Colour ports, memory on.
    };
    begin();
    Surface surface;
    unsigned drawn = 0;
    const auto more = [&](fuzz::Input& input) {
        const u8 what = input.byte();
        const u16 value = static_cast<u16>(input.integer(2));
        switch (what & 7) {
        case 0: begin(); break;
        case 1: memory.write(registers + 0x500 + 2 * (what >> 3) % 22, value, 2); break;
        case 2: ports.write(0x3C4, value, 2); break;
        case 3: ports.write(0x3CE, value, 2); break;
        case 4: ports.write(0x3D4, value, 2); break;
        case 5: // An attribute register.
            ports.read(0x3DA, 1);
            ports.write(0x3C0, value & 0x3F, 1);
            ports.write(0x3C0, value >> 8, 1);
            break;
        case 6:
            memory.write(0xA0000 + (u64{value} << 1), input.integer(4), 4);
            memory.read(0xA0000 + (u64{value} << 1), 4);
            memory.write(framebuffer + u64{value} * 16, what, 8);
            break;
        default: // Each picture may be a large one.
            if (++drawn > 8) break;
            if (what & 8)
                device.update(surface);
            else
                device.take_picture(surface);
            static_cast<void>(device.text());
            if (what & 16) device.stop_updates();
        }
    };
    fuzz::drive(
        {device,
         memory,
         {{registers + 0x400, 0x20}, {registers + 0x500, 0x16}, {0xA0000, 0x100}, {0xB8000, 0x100}, {registers, 0x100}},
         &clock,
         more},
        data, size);
    device.take_picture(surface);
    return 0;
}
