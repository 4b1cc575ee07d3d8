// An AHCI controller with a disk and a CD: registers, command lists and tables that the driver fills with anything.
#include "devices/ahci/ahci.h"
#include "tests/devices/fake_disk.h"
#include "tests/fuzz/pci_machine.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    constexpr u64 bar = 0xFEB0'0000;
    test::FakeDisk disk(64), cd(64);
    Ahci device(m.log, m.ram, m.worker, "ahci");
    device.attach(0, disk, false, "1");
    device.attach(1, cd, true, "2");
    m.attach(device.function());
    const auto port = [&](unsigned number, u32 offset, u32 value) {
        m.memory.write(bar + 0x100 + 0x80 * number + offset, value, 4);
    };
    const auto enable = [&] {
        m.config_write(0x24, bar, 4);
        m.config_write(0x04, 6, 2);
        for (unsigned i = 0; i < 2; ++i) {
            port(i, ahci::PxCMD, 0);
            port(i, ahci::PxCLB, 0x1000 * i);
            port(i, ahci::PxFB, 0x800 + 0x1000 * i);
            port(i, ahci::PxIE, ~0u);
            port(i, ahci::PxCMD, 0x11);
        }
        m.memory.write(bar + 4, 0x8000'0002, 4);
    };
    // A command with a table behind it, all of whose fields come from the input.
    const auto command = [&](fuzz::Input& input) {
        const unsigned number = input.byte() & 1, slot = input.byte() & 31, regions = input.byte() & 3;
        const u64 table = 0x4000 + 0x200 * slot;
        std::vector<u8> header(16), frame{0x27, 0x80};
        header[0] = 5;
        header[2] = static_cast<u8>(regions);
        header[8] = static_cast<u8>(table);
        header[9] = static_cast<u8>(table >> 8);
        const auto rest = input.bytes(14);
        frame.insert(frame.end(), rest.begin(), rest.end());
        m.ram.dma_write(PhysicalAddress(0x1000 * number + 32 * slot), header);
        m.ram.dma_write(PhysicalAddress(table), frame);
        m.ram.dma_write(PhysicalAddress(table + 0x40), input.bytes(12));
        for (unsigned i = 0; i < regions; ++i) {
            std::vector<u8> region(16);
            region[1] = input.byte();
            region[2] = input.byte() & 3;
            region[12] = input.byte();
            region[13] = input.byte();
            m.ram.dma_write(PhysicalAddress(table + 0x80 + 16 * i), region);
        }
        port(number, ahci::PxSACT, input.byte() & 1 ? 1u << slot : 0);
        port(number, ahci::PxCI, 1u << slot);
        m.worker.run(2);
    };
    enable();
    fuzz::drive({device,
                 m.memory,
                 {{bar, 0x40}, {bar + 0x100, 0x80}, {bar + 0x180, 0x80}, {bar + 0x200, 0x80}},
                 nullptr,
                 [&](fuzz::Input& input) {
                     switch (input.byte() % 8) {
                     case 0: disk.settle(input.byte()); break;
                     case 1: cd.settle(input.byte()); break;
                     case 2: cd.change_medium(input.byte() & 1); break;
                     case 3: enable(); break;
                     case 4: m.worker.run(4); break;
                     case 5: {
                         const u64 at = input.integer(2);
                         m.ram.dma_write(PhysicalAddress(at), input.bytes(input.byte()));
                         break;
                     }
                     case 6: disk.failure = static_cast<BlockStatus>(input.byte() % 6); break;
                     default: command(input); break;
                     }
                 }},
                data, size);
    m.worker.run(4);
    return 0;
}
