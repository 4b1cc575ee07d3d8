// A hostile -kernel that firmware is to start.
#include "firmware/loaders/firmware_kernel.h"

#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace calque;
    if (size < 2) return 0;
    const std::vector<u8> image(data + 2, data + size), initrd(u64{data[1]} * 4096 + 1);
    firmware::BootRequest request{image, "kernel", "console=ttyS0", {}};
    if (data[0] & 1) request.modules.push_back({initrd, "initrd", {}});
    const auto parts = firmware::firmware_kernel({u64{data[0]} << 20, 0}, request);
    if (parts && (parts->rom.size() != 512 || parts->setup.size() > 0xE000)) __builtin_trap();
    return 0;
}
