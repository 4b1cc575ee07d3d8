// The devices of a register or two: port 92, CF9, the POST port, the debug console and exit.
#include "devices/debugcon/debugcon.h"
#include "devices/isa_debug_exit/isa_debug_exit.h"
#include "devices/port92/port92.h"
#include "devices/post/post.h"
#include "devices/reset_control/reset_control.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    Bus ports(Bus::Kind::ports, log);
    fuzz::Backend backend;
    Port92 port92(
        log, [](bool) {}, [] {});
    ResetControl control(log, [](bool) {});
    PostPort post(log);
    Debugcon debugcon(backend);
    IsaDebugExit debug_exit([](u32) {});
    ports.map(0x92, 1, port92, "port92");
    ports.map(0xCF9, 1, control, "reset");
    ports.map(0x80, 1, post, "post");
    ports.map(0xE9, 1, debugcon, "debugcon");
    ports.map(0xF4, 4, debug_exit, "exit");
    Device* const all[]{&port92, &control, &post, &debugcon, &debug_exit};
    Device& saved = *all[size % 5];
    fuzz::drive({saved, ports, {{0x92, 1}, {0xCF9, 1}, {0x80, 1}, {0xE9, 1}, {0xF4, 4}}, nullptr, nullptr}, data, size);
    return 0;
}
