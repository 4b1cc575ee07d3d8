// A flash chip: commands in any order, writes to its file that take their time.
#include "devices/pflash/pflash.h"
#include "tests/devices/fake_disk.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;
using namespace calque::devices;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    Bus memory(Bus::Kind::memory, log);
    test::FakeDisk disk(64);
    if (size != 0) disk.is_read_only = data[0] == 0xFF;
    constexpr u64 base = 0xFFFF'8000;
    Pflash flash(
        log, disk.bytes, &disk, [&] { memory.tell_changed(); }, "pflash0");
    memory.map(base, flash.size(), flash, "pflash0");
    const auto more = [&](fuzz::Input& input) {
        constexpr u8 commands[] = {0xFF, 0x90, 0x98, 0x70, 0x50, 0xE8, 0x40, 0x20, 0xD0, 0x60, 0x10, 0xB0};
        const u8 what = input.byte();
        const u64 at = base + input.integer(2) % 0x8000;
        switch (what & 3) {
        case 0: disk.settle(what >> 2); break;
        case 1: // A whole buffer.
            memory.write(at, 0xE8, 1);
            memory.write(at, what, 1);
            for (unsigned i = 0; i <= what; ++i)
                memory.write(std::min<u64>(at + i, 0xFFFF'FFFF), input.byte(), 1);
            memory.write(at, 0xD0, 1);
            break;
        case 2: disk.failure = what & 4 ? BlockStatus::io_error : BlockStatus::ok; break;
        default: memory.write(at, commands[(what >> 2) % std::size(commands)], 1);
        }
    };
    fuzz::drive({flash, memory, {{base, 0x100}, {base + 0x7F00, 0x100}}, nullptr, more}, data, size);
    disk.settle();
    return 0;
}
