#include "devices/uart16550/uart16550.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoLines lines;
    fuzz::Backend backend;
    devices::Bus ports(devices::Bus::Kind::ports, log);
    devices::Uart16550 uart(log, clock, devices::IrqLine(lines, 4), &backend, "serial0");
    ports.map(0x3F8, 8, uart, "serial0");
    fuzz::drive({uart,
                 ports,
                 {{0x3F8, 8}},
                 &clock,
                 [&](fuzz::Input& input) {
                     const u8 count = input.byte();
                     if (count == 0) return backend.send_break();
                     backend.type(input.bytes(count));
                 }},
                data, size);
    return 0;
}
