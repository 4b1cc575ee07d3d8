#include "devices/fw_cfg/fw_cfg.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    Log log;
    fuzz::Ram ram(0x4000);
    devices::Bus ports(devices::Bus::Kind::ports, log);
    devices::FwCfg device(log, ram);
    device.add_string(devices::fw_cfg_key::CMDLINE_DATA, "console=ttyS0");
    if (!device.add_file("etc/small", std::vector<u8>(5, 1))) return 0;
    devices::FwCfg::Item writable;
    writable.data.resize(64);
    writable.writable = true;
    if (!device.add_active_file("etc/writable", std::move(writable))) return 0;
    devices::FwCfg::Item growing;
    growing.on_select = [](std::vector<u8>& bytes) { bytes.resize((bytes.size() + 7) % 100); };
    if (!device.add_active_file("etc/growing", std::move(growing))) return 0;
    ports.map(0x510, 2, device.ports(), "fw_cfg");
    ports.map(0x514, 8, device.dma_port(), "fw_cfg DMA");
    fuzz::drive({device,
                 ports,
                 {{0x510, 2}, {0x514, 8}},
                 nullptr,
                 [&](fuzz::Input& input) {
                     // A request with likely fields, run.
                     const u64 at = input.byte() * 16;
                     const std::vector<u8> fields = input.bytes(16);
                     std::copy(fields.begin(), fields.end(), ram.bytes.begin() + static_cast<std::ptrdiff_t>(at));
                     if (at % 32) ram.bytes[at] = 0, ram.bytes[at + 1] = 0x20 + fields.size() % 4;
                     ports.write(0x514, __builtin_bswap64(at), 8);
                 }},
                data, size);
    return 0;
}
