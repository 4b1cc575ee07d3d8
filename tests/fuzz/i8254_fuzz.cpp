#include "devices/i8254/i8254.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoSink sink;
    I8254 pit(log, clock, IrqLine(sink, 0));
    Bus ports(Bus::Kind::ports, log);
    ports.map(0x40, 4, pit.ports(), "i8254");
    ports.map(0x61, 1, pit.port_61(), "port 61");
    const auto extra = [&](u8 operation, fuzz::Input&) {
        if (operation == 0) pit.reset();
        pit.output(operation);
        pit.speaker_divisor();
    };
    fuzz::drive({data, size}, pit, ports, clock, {{0x40, 4}, {0x40, 4}, {0x61, 1}}, extra);
    return 0;
}
