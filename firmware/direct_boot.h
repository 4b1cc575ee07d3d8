// Starting a kernel without a BIOS: lays out what a BIOS and a boot loader would leave in memory.
#pragma once

#include "base/result.h"
#include "firmware/boot_state.h"
#include "firmware/guest_memory.h"
#include "firmware/platform.h"

#include <span>
#include <string>
#include <vector>

namespace calque::firmware {

// Least RAM for -kernel: the firmware areas and a kernel's first needs. Kernels that need more say so.
inline constexpr u64 minimum_ram = 4 * MiB;

// A file that goes into memory beside the kernel: the initrd of Linux and PVH, a module of multiboot.
struct BootModule {
    std::span<const u8> bytes;
    std::string name; // The file's name; messages use it.
    std::string text; // What multiboot and PVH pass as the module's command line.
};

struct BootRequest {
    std::span<const u8> kernel;
    std::string kernel_name; // For messages, and the first word of a multiboot command line.
    std::string command_line;
    std::vector<BootModule> modules; // At most one for Linux.
};

// Clears nothing but what it uses; writes ACPI, SMBIOS, MP and $PIR tables, the BIOS data area, the kernel and its
// modules, and says how vCPU 0 starts. `platform.apic_ids` must not be empty. The error is one sentence for the person
// who named the files. Run again after a machine reset.
Result<BootState> direct_boot(GuestMemory& memory, const Platform& platform, const BootRequest& request);

} // namespace calque::firmware
