// Kernel images: what one is, and the three protocols that start one.
#pragma once

#include "base/result.h"
#include "firmware/boot_state.h"
#include "firmware/direct_boot.h"
#include "firmware/e820/e820.h"
#include "firmware/guest_memory.h"

#include <span>
#include <string_view>

namespace calque::firmware {

enum class ImageKind : u8 {
    empty,
    bzimage,   // Linux x86 boot protocol
    multiboot, // multiboot 1 header in the first 8 KiB
    pvh,       // ELF with the XEN_ELFNOTE_PHYS32_ENTRY note
    elf,       // ELF without any of these
    unknown,
};
ImageKind detect(std::span<const u8> image);
// For an image that no loader takes: what it looks like, as a sentence that ends in what to do.
Error unsupported_image(std::span<const u8> image, std::string_view name);

// What every loader needs to know of the machine.
struct LoadContext {
    GuestMemory& memory;
    const E820Map& map;
    const Platform& platform;
    PhysicalAddress rsdp;
};

// Each writes the kernel, its modules and its boot information, and gives the state to start in.
Result<BootState> load_bzimage(const LoadContext& context, const BootRequest& request);
Result<BootState> load_multiboot(const LoadContext& context, const BootRequest& request);
Result<BootState> load_pvh(const LoadContext& context, const BootRequest& request);

} // namespace calque::firmware
