#include "devices/ioapic/ioapic.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoSink sink;
    IoApic ioapic(log, clock, sink);
    Bus memory(Bus::Kind::memory, log);
    memory.map(0, IoApic::mmio_size, ioapic.mmio(), "ioapic");
    const auto extra = [&](u8 operation, fuzz::Input& input) {
        if (operation & 0x80) return ioapic.set_irq(operation & 31, operation & 0x40);
        if (operation & 0x40) return ioapic.eoi(input.byte());
        memory.write(0x00, operation, 4);
        memory.write(0x10, input.number(4), 4);
        memory.read(0x10, 4);
    };
    fuzz::drive({data, size}, ioapic, memory, clock, {{0, 0x50}, {0, IoApic::mmio_size}}, extra);
    return 0;
}
