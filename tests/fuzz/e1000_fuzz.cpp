// The 82540EM: registers, descriptors and frames of anybody's making.
#include "devices/e1000/e1000.h"
#include "tests/devices/net_test_support.h"
#include "tests/fuzz/pci_machine.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    test::RecordedNet net(m.worker);
    E1000 device(m.log, m.ram, net, {0x52, 0x54, 0, 0, 0, 1}, "e1000");
    m.attach(device.function());
    constexpr u64 base = 0xFEB8'0000;
    const auto begin = [&] {
        m.config_write(0x10, base, 4);
        m.config_write(0x04, 7, 4);
        for (const auto& [offset, value] : {std::pair{0x3800u, 0x1000u},
                                            {0x3808u, 256u},
                                            {0x2800u, 0x2000u},
                                            {0x2808u, 256u},
                                            {0x2818u, 15u},
                                            {0x400u, 2u},
                                            {0x100u, 0x801Au}})
            m.memory.write(base + offset, value, 4);
    };
    begin();
    const auto more = [&](fuzz::Input& input) {
        const u8 what = input.byte();
        switch (what & 3) {
        case 0: m.worker.run(4); break;
        case 1: {
            FrameOffload offload;
            offload.needs_checksum = what & 4;
            offload.checksum_start = input.byte();
            offload.checksum_offset = input.byte();
            net.client->receive(input.bytes(input.integer(2) % 4096), offload);
            break;
        }
        case 2: begin(); break;
        default: { // Descriptors, told of at once.
            const u64 at = 0x1000 + input.integer(2) % 0x2000;
            const auto bytes = input.bytes(input.byte() % 64);
            std::copy(bytes.begin(), bytes.end(), m.ram.bytes.begin() + static_cast<std::ptrdiff_t>(at));
            m.memory.write(base + 0x3818, what >> 4, 4);
            m.worker.run(4);
        }
        }
        net.sent.clear();
    };
    fuzz::drive(
        {device,
         m.memory,
         {{base, 0x100}, {base + 0x100, 0x100}, {base + 0x2800, 0x40}, {base + 0x3800, 0x40}, {base + 0x5400, 0x80}},
         &m.clock,
         more},
        data, size);
    m.worker.run(4);
    return 0;
}
