// Both channels with a disk and a CD drive: registers, packets, DMA over a hostile table, media that come and go.
#include "devices/ide/piix3_ide.h"
#include "devices/pci/pci_bus.h"
#include "tests/devices/fake_disk.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    Bus ports(Bus::Kind::ports, log), memory(Bus::Kind::memory, log);
    fuzz::Ram ram(1 << 16);
    fuzz::NoLines lines;
    test::FakeDisk disk(40), cd(40);
    PciBus pci(log, ports, memory);
    Piix3Ide ide(log, ports, ram, IrqLine(lines, 14), IrqLine(lines, 15),
                 Piix3Ide::Drives{{{&disk, false, "1"}, {&cd, true, "2"}, {}, {&disk, false, "4"}}});
    static_cast<void>(pci.attach(ide.function(), 1, 1));
    const auto enable = [&] {
        pci.config_write(0, 9, 0x40, 0x80008000, 4);
        pci.config_write(0, 9, 0x20, 0xC000, 4);
        pci.config_write(0, 9, 0x04, 5, 2);
    };
    enable();
    fuzz::drive({ide,
                 ports,
                 {{0x1F0, 8}, {0x3F6, 1}, {0x170, 8}, {0x376, 1}, {0xC000, 16}},
                 nullptr,
                 [&](fuzz::Input& input) {
                     switch (input.byte() % 8) {
                     case 0: disk.settle(input.byte()); break;
                     case 1: cd.settle(input.byte()); break;
                     case 2: cd.change_medium(input.byte() & 1); break;
                     case 3: enable(); break;
                     case 4: { // Data, a lot of it.
                         const u16 port = input.byte() & 1 ? 0x1F0 : 0x170;
                         const unsigned count = input.byte() * 4u;
                         const bool write = input.byte() & 1;
                         for (unsigned i = 0; i < count; ++i)
                             write ? ports.write(port, input.byte(), 4) : void(ports.read(port, 4));
                         break;
                     }
                     case 5: { // A packet to the CD.
                         ports.write(0x1F6, 0xB0, 1);
                         ports.write(0x1F1, input.byte() & 1, 1);
                         ports.write(0x1F5, input.byte(), 1);
                         ports.write(0x1F7, 0xA0, 1);
                         for (const u8 byte : input.bytes(12))
                             ports.write(0x1F0, byte, 1);
                         break;
                     }
                     case 6: { // Memory: PRD tables.
                         const u64 at = input.integer(2);
                         const auto bytes = input.bytes(input.byte());
                         ram.dma_write(PhysicalAddress(at), bytes);
                         break;
                     }
                     default: disk.failure = static_cast<BlockStatus>(input.byte() % 6); break;
                     }
                 }},
                data, size);
    disk.waiting.clear();
    cd.waiting.clear();
    return 0;
}
