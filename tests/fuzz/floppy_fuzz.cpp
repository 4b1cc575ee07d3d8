// The floppy controller with two drives and the DMA controller: registers, commands, diskettes that come and go.
#include "devices/floppy/floppy.h"
#include "devices/i8237/i8237.h"
#include "tests/devices/fake_disk.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    Bus ports(Bus::Kind::ports, log);
    fuzz::Ram ram(1 << 16);
    fuzz::NoLines lines;
    test::FakeDisk first(720), second(100);
    I8237 dma(log, ram);
    Floppy floppy(log, IrqLine(lines, 6), dma, Floppy::Drives{&first, &second});
    ports.map(0x3F0, 6, floppy.ports(), "floppy");
    ports.map(0x3F7, 1, floppy.port_7(), "floppy-dir");
    ports.map(0x00, 16, dma.first(), "dma");
    ports.write(0x3F2, 0x3C, 1);
    fuzz::drive({floppy,
                 ports,
                 {{0x3F0, 6}, {0x3F7, 1}, {0x3F5, 1}, {0x00, 16}},
                 nullptr,
                 [&](fuzz::Input& input) {
                     switch (input.byte() % 6) {
                     case 0: first.settle(input.byte()); break;
                     case 1: second.settle(input.byte()); break;
                     case 2: (input.byte() & 1 ? first : second).change_medium(input.byte() & 1); break;
                     case 3: first.failure = static_cast<BlockStatus>(input.byte() % 6); break;
                     case 4: { // Many bytes through the FIFO.
                         const unsigned count = input.byte() * 4u;
                         const bool write = input.byte() & 1;
                         for (unsigned i = 0; i < count; ++i)
                             write ? ports.write(0x3F5, input.byte(), 1) : void(ports.read(0x3F5, 1));
                         break;
                     }
                     default: // A transfer, as good as the input will have it, by the channel as it is.
                         ports.write(0x3F7, 2, 1);
                         ports.write(0x0B, 0x46 ^ (input.byte() & 0x0C), 1);
                         ports.write(0x0F, 0, 1);
                         for (const u8 byte : input.bytes(9))
                             ports.write(0x3F5, byte, 1);
                         break;
                     }
                 }},
                data, size);
    first.waiting.clear();
    second.waiting.clear();
    return 0;
}
