#include "devices/i8259/i8259.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoSink sink;
    I8259Pair pair(log, IrqLine(sink, 0));
    Bus ports(Bus::Kind::ports, log);
    ports.map(0x20, 2, pair.master_ports(), "master");
    ports.map(0xa0, 2, pair.slave_ports(), "slave");
    ports.map(0x4d0, 2, pair.elcr_ports(), "elcr");
    const auto extra = [&](u8 operation, fuzz::Input&) {
        if (operation & 0x80)
            pair.acknowledge();
        else
            pair.set_irq(operation & 31, operation & 0x40);
    };
    fuzz::drive({data, size}, pair, ports, clock, {{0x20, 2}, {0xa0, 2}, {0x4d0, 2}}, extra);
    return 0;
}
