// An NVMe controller with its queues: registers, doorbells, commands of any kind, lists that lie.
#include "devices/nvme/nvme.h"
#include "tests/devices/fake_disk.h"
#include "tests/fuzz/pci_machine.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    constexpr u64 bar = 0xFEB0'0000;
    test::FakeDisk disk(64);
    Nvme device(m.log, m.ram, m.worker, disk, "1", "nvme");
    m.attach(device.function());
    std::array<u32, 3> tail{};
    const auto enable = [&] {
        m.config_write(0x10, bar, 4);
        m.config_write(0x04, 6, 2);
        m.memory.write(bar + nvme::CC, 0, 4);
        m.memory.write(bar + nvme::AQA, 0x0007'0007, 4);
        m.memory.write(bar + nvme::ASQ, 0x1000, 8);
        m.memory.write(bar + nvme::ACQ, 0x2000, 8);
        m.memory.write(bar + nvme::CC, 0x0046'0001, 4);
        tail = {};
    };
    const auto command = [&](unsigned queue, std::vector<u8> bytes) {
        bytes.resize(64);
        m.ram.dma_write(PhysicalAddress(0x1000 + 0x2000 * queue + 64 * tail[queue]), bytes);
        tail[queue] = (tail[queue] + 1) % 8;
        m.memory.write(bar + nvme::doorbells + 8 * queue, tail[queue], 4);
        m.worker.run(2);
    };
    // Completions are taken, as many as there may be.
    const auto drain = [&](unsigned queue, u8 head) {
        m.memory.write(bar + nvme::doorbells + 8 * queue + 4, head % 8, 4);
    };
    const auto create = [&] {
        for (const u8 opcode : {u8{5}, u8{1}}) {
            std::vector<u8> bytes(64);
            bytes[0] = opcode;
            bytes[25] = opcode == 5 ? 0x40 : 0x30;
            bytes[40] = 1;
            bytes[42] = 7;
            bytes[44] = 1;
            bytes[46] = opcode == 5 ? 0 : 1;
            command(0, bytes);
        }
    };
    enable();
    create();
    fuzz::drive({device,
                 m.memory,
                 {{bar, 0x40}, {bar + 0x1000, 0x20}, {bar + 0x2000, 0x40}},
                 nullptr,
                 [&](fuzz::Input& input) {
                     switch (input.byte() % 8) {
                     case 0: disk.settle(input.byte()); break;
                     case 1: drain(input.byte() & 1, input.byte()); break;
                     case 2:
                         enable();
                         create();
                         break;
                     case 3: m.worker.run(4); break;
                     case 4: {
                         const u64 at = input.integer(2);
                         m.ram.dma_write(PhysicalAddress(at), input.bytes(input.byte()));
                         break;
                     }
                     case 5: disk.failure = static_cast<BlockStatus>(input.byte() % 6); break;
                     case 6: { // An admin command.
                         command(0, input.bytes(64));
                         break;
                     }
                     default: { // One for the disk, of a good shape.
                         std::vector<u8> bytes(64);
                         bytes[0] = input.byte() % 10;
                         bytes[4] = 1;
                         bytes[25] = input.byte();
                         bytes[26] = input.byte() & 1;
                         bytes[33] = input.byte();
                         bytes[40] = input.byte() & 63;
                         bytes[44] = input.byte() & 7;
                         bytes[48] = input.byte() & 31;
                         command(1, bytes);
                         break;
                     }
                     }
                 }},
                data, size);
    m.worker.run(4);
    return 0;
}
