// The USB controller with a keyboard, a mouse and a tablet: registers, rings and contexts of a hostile driver.
#include "devices/usb/usb_hid.h"
#include "devices/usb/xhci.h"
#include "tests/fuzz/pci_machine.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    constexpr u64 base = 0xFE00'0000, operational = base + 0x40, runtime = base + 0x1000, doorbells = base + 0x2000;
    constexpr u64 contexts = 0x1000, commands = 0x2000, events = 0x3000, table = 0x4000;
    fuzz::PciMachine m;
    UsbHid keyboard(m.log, InputDevice::Kind::keyboard, "", "kbd"), mouse(m.log, InputDevice::Kind::mouse, "", "mouse"),
        tablet(m.log, InputDevice::Kind::tablet, "", "tablet");
    Xhci device(m.log, m.ram, m.clock, m.worker, {0x1B36, 0xD, 1}, "xhci");
    for (UsbHid* const hid : {&keyboard, &mouse, &tablet})
        static_cast<void>(device.plug(*hid, std::nullopt));
    m.attach(device.function());
    const auto begin = [&] {
        for (const auto& [offset, value] :
             {std::pair{0x10u, base}, {0x14u, u64{0}}, {0x18u, u64{0xFEB0'0000}}, {0x04u, u64{7}}})
            m.config_write(offset, static_cast<u32>(value), 4);
        for (unsigned slot = 1; slot < 4; ++slot)
            for (unsigned i = 0; i < 8; ++i)
                m.ram.bytes[contexts + 8 * slot + i] = static_cast<u8>(u64{0x6000 + 0x800 * slot} >> (8 * i));
        m.ram.bytes[table + 1] = events >> 8;
        m.ram.bytes[table + 8] = 64;
        m.memory.write(operational + 0x30, contexts, 8);
        m.memory.write(operational + 0x18, commands | 1, 8);
        m.memory.write(runtime + 0x28, 1, 4);
        m.memory.write(runtime + 0x38, events, 8);
        m.memory.write(runtime + 0x30, table, 8);
        m.memory.write(runtime + 0x20, 2, 4);
        m.memory.write(operational, 5, 4);
        for (unsigned port = 0; port < 3; ++port)
            m.memory.write(operational + 0x400 + 16 * port, 1 << 9 | 1 << 4, 4);
        m.worker.run(4);
    };
    begin();
    const auto put = [&](u64 at, u64 value, unsigned width) {
        for (unsigned i = 0; i < width && at + i < m.ram.bytes.size(); ++i)
            m.ram.bytes[at + i] = static_cast<u8>(value >> (8 * i));
    };
    u64 command_at = commands;
    // A command that comes to the controller as one.
    const auto command = [&](fuzz::Input& input) {
        put(command_at, input.integer(2) & 0xFFF0, 8);
        put(command_at + 8, 0, 4);
        put(command_at + 12, u64{1} | u64{9u + input.byte() % 16u} << 10 | input.integer(2) % 0x400 << 16, 4);
        command_at = commands + (command_at - commands + 16) % 0x1000;
        m.memory.write(doorbells, 0, 4);
        m.worker.run(4);
    };
    fuzz::drive({device,
                 m.memory,
                 {{base, 0x40}, {operational, 0x40}, {operational + 0x400, 0x80}, {runtime, 0x60}, {doorbells, 0x20}},
                 &m.clock,
                 [&](fuzz::Input& input) {
                     const u8 what = input.byte();
                     switch (what & 7) {
                     case 0: return begin();
                     case 1: return static_cast<void>(m.worker.run(4));
                     case 2: return command(input);
                     case 3:
                         return keyboard.key(static_cast<Key>(input.byte() % static_cast<unsigned>(Key::count)),
                                             what & 8);
                     case 4: return mouse.move(static_cast<i32>(input.integer(4)), static_cast<i32>(input.integer(4)));
                     case 5: return tablet.place(static_cast<u32>(input.integer(4)), what);
                     default: { // Bytes into rings and contexts.
                         u64 at = input.integer(2) & 0xFFFC;
                         for (const u8 byte : input.bytes(input.byte() % 64))
                             put(at++, byte, 1);
                         if (what & 8) m.memory.write(doorbells + 4 * (what >> 6), what >> 4 & 3, 4);
                         if (what & 16) m.worker.run(4);
                     }
                     }
                 }},
                data, size);
    m.worker.run(4);
    return 0;
}
