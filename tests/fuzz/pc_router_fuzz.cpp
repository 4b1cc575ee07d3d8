#include "devices/pc_router/pc_router.h"
#include "tests/fuzz/device_fuzz.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoSink sink;
    PcRouter router(log, sink, sink, IrqLine(sink, 0));
    Bus ports(Bus::Kind::ports, log);
    ports.map(0xf0, 2, router.coprocessor_ports(), "coprocessor");
    const auto extra = [&](u8 operation, fuzz::Input& input) {
        if (operation == 0xff) return router.reset();
        if (operation & 0x80) return router.set_pirq_route(operation & 7, input.byte());
        router.set_irq(operation, input.byte() & 1);
    };
    fuzz::drive({data, size}, router, ports, clock, {{0xf0, 2}}, extra);
    return 0;
}
