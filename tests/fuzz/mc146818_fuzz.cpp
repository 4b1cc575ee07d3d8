#include "devices/mc146818/mc146818.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoSink sink;
    clock.set_wall_start(1'700'000'000);
    Mc146818 rtc(log, clock, {}, IrqLine(sink, 8));
    Bus ports(Bus::Kind::ports, log);
    ports.map(0x70, 4, rtc.ports(), "rtc");
    const auto extra = [&](u8 operation, fuzz::Input& input) {
        if (operation == 0) return rtc.reset();
        // An indexed access, which two unrelated ones seldom make.
        ports.write(0x70, operation & 0x3f, 1);
        if (operation & 0x80)
            ports.write(0x71, input.byte(), 1);
        else
            ports.read(0x71, 1);
    };
    fuzz::drive({data, size}, rtc, ports, clock, {{0x70, 4}}, extra);
    return 0;
}
