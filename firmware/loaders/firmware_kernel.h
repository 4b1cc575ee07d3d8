// A Linux kernel that firmware starts: what fw_cfg offers of it, and the option ROM by which SeaBIOS boots it.
#pragma once

#include "base/result.h"
#include "firmware/direct_boot.h"
#include "firmware/platform.h"

#include <span>
#include <vector>

namespace calque::firmware {

// OVMF takes the parts and starts the kernel by its EFI stub. Under a BIOS the ROM puts each part at its address, by
// fw_cfg's DMA, and enters the setup code.
struct FirmwareKernel {
    std::vector<u8> setup; // The boot sector and the setup code, with what a boot loader fills in.
    std::span<const u8> kernel;
    std::span<const u8> initrd;   // Empty: none.
    std::vector<u8> command_line; // With its terminating zero.
    u32 initrd_address = 0;       // 0: none.
    std::vector<u8> rom;          // An option ROM with a bootstrap entry vector (Plug and Play BIOS 1.0A, 3.2).
    static constexpr u32 setup_address = 0x10000, command_line_address = 0x20000, kernel_address = 0x100000;
};

// Keeps spans of the request. Errors: not a bzImage, a kernel or an initrd that does not fit into `ram`.
Result<FirmwareKernel> firmware_kernel(const RamLayout& ram, const BootRequest& request);

} // namespace calque::firmware
