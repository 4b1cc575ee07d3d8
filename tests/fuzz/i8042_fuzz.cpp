#include "devices/i8042/i8042.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    ManualClock clock;
    fuzz::NoLines lines;
    devices::Bus ports(devices::Bus::Kind::ports, log);
    devices::I8042 device(log, clock, devices::IrqLine(lines, 1), devices::IrqLine(lines, 12), {});
    ports.map(0x60, 1, device.data(), "data");
    ports.map(0x64, 1, device.command(), "command");
    fuzz::drive({device,
                 ports,
                 {{0x60, 1}, {0x64, 1}},
                 &clock,
                 [&](fuzz::Input& input) {
                     const u8 what = input.byte();
                     if (what < 0x80) {
                         device.key(static_cast<devices::Key>(input.byte()), what & 1);
                     } else if (what < 0xC0) {
                         device.mouse_button(static_cast<devices::MouseButton>(what % 5), what & 8);
                     } else {
                         const auto next = [&] { return static_cast<i32>(input.integer(4)); };
                         const i32 dx = next(), dy = next(), dz = next();
                         device.mouse_move(dx, dy, dz);
                     }
                 }},
                data, size);
    return 0;
}
