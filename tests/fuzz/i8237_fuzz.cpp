#include "devices/i8237/i8237.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    fuzz::Ram ram(0x30000);
    devices::Bus ports(devices::Bus::Kind::ports, log);
    devices::I8237 dma(log, ram);
    ports.map(0x00, 16, dma.first(), "dma1");
    ports.map(0xC0, 32, dma.second(), "dma2");
    ports.map(0x81, 15, dma.pages(), "pages");
    fuzz::drive({dma,
                 ports,
                 {{0x00, 16}, {0xC0, 32}, {0x81, 15}},
                 nullptr,
                 [&](fuzz::Input& input) {
                     const u8 what = input.byte();
                     std::vector<u8> bytes(input.byte());
                     dma.set_request(what, what & 0x10);
                     if (what & 0x20)
                         dma.to_memory(what & 15, bytes);
                     else
                         dma.from_memory(what & 15, bytes);
                 }},
                data, size);
    return 0;
}
