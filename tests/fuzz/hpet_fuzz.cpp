#include "devices/hpet/hpet.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoSink sink;
    const Hpet::Lines lines{&sink, 0, IrqLine(sink, 64), IrqLine(sink, 65), IrqLine(sink, 66)};
    Hpet hpet(log, clock, lines, sink);
    Bus memory(Bus::Kind::memory, log);
    memory.map(0, Hpet::mmio_size, hpet.mmio(), "hpet");
    const auto extra = [&](u8 operation, fuzz::Input& input) {
        if (operation == 0) return hpet.reset();
        // A write of a register that is there.
        constexpr u64 registers[] = {0x10, 0x20, 0xf0, 0x100, 0x108, 0x110, 0x120, 0x128, 0x130, 0x140, 0x148, 0x150};
        memory.write(registers[operation % std::size(registers)], input.number(operation & 0x80 ? 8 : 3), 8);
    };
    fuzz::drive({data, size}, hpet, memory, clock, {{0, 0x180}, {0, Hpet::mmio_size}}, extra);
    return 0;
}
