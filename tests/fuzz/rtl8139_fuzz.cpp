// The RTL8139C+: registers, buffers, descriptors and frames of anybody's making.
#include "devices/rtl8139/rtl8139.h"
#include "tests/devices/net_test_support.h"
#include "tests/fuzz/pci_machine.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    fuzz::PciMachine m;
    test::RecordedNet net(m.worker);
    Rtl8139 device(m.log, m.clock, m.ram, net, {{0x52, 0x54, 0, 0, 0, 1}, true}, "rtl8139");
    m.attach(device.function());
    constexpr u64 base = 0xFEB8'0000;
    const auto begin = [&](bool plus) {
        m.config_write(0x14, base, 4);
        m.config_write(0x04, 7, 4);
        struct Write {
            u32 offset, value;
            unsigned size;
        };
        for (const Write& one :
             {Write{0xE0, plus ? 0x63u : 0u, 2}, Write{0x20, 0x1000, 4}, Write{0x28, 0x1800, 4}, Write{0xE4, 0x2000, 4},
              Write{0x30, 0x10000, 4}, Write{0x37, 0x0C, 1}, Write{0x44, 0x0F, 4}, Write{0x3C, 0xFFFF, 2}})
            m.memory.write(base + one.offset, one.value, one.size);
    };
    begin(true);
    const auto more = [&](fuzz::Input& input) {
        const u8 what = input.byte();
        switch (what & 3) {
        case 0: m.worker.run(4); break;
        case 1: {
            FrameOffload offload;
            offload.needs_checksum = what & 4;
            offload.checksum_good = what & 8;
            offload.checksum_start = input.byte();
            offload.checksum_offset = input.byte();
            net.client->receive(input.bytes(input.integer(2) % 4096), offload);
            break;
        }
        case 2: begin(what & 4); break;
        default: { // Descriptors, told of at once.
            const u64 at = 0x1000 + input.integer(2) % 0x2000;
            const auto bytes = input.bytes(input.byte() % 64);
            std::copy(bytes.begin(), bytes.end(), m.ram.bytes.begin() + static_cast<std::ptrdiff_t>(at));
            m.memory.write(base + 0xD9, 0xC0, 1);
            m.memory.write(base + 0x10 + (what >> 4 & 3) * 4, input.integer(2), 4);
            m.worker.run(4);
        }
        }
        net.sent.clear();
    };
    fuzz::drive({device, m.memory, {{base, 0x80}, {base + 0xD8, 0x20}}, &m.clock, more}, data, size);
    m.worker.run(4);
    return 0;
}
