// The setup header of a Linux kernel image (Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header").
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <span>
#include <string_view>

namespace calque::firmware {

// Offsets in the image and, alike, in boot_params.
namespace setup_header {
inline constexpr u32 setup_sects = 0x1F1, syssize = 0x1F4, vid_mode = 0x1FA, boot_flag = 0x1FE, jump = 0x200,
                     magic = 0x202, version = 0x206, type_of_loader = 0x210, loadflags = 0x211, code32_start = 0x214,
                     ramdisk_image = 0x218, ramdisk_size = 0x21C, cmd_line_ptr = 0x228, initrd_addr_max = 0x22C,
                     kernel_alignment = 0x230, relocatable_kernel = 0x234, xloadflags = 0x236, cmdline_size = 0x238,
                     payload_offset = 0x248, payload_length = 0x24C, pref_address = 0x258, init_size = 0x260,
                     end = 0x290;
inline constexpr u8 loaded_high = 1u << 0, keep_segments = 1u << 6;
inline constexpr u16 xlf_kernel_64 = 1u << 0, xlf_can_be_loaded_above_4g = 1u << 1;
} // namespace setup_header

// What a loader takes from it; fields that the image's protocol version does not have keep the documented defaults.
struct SetupHeader {
    u16 version = 0;       // 0x20F is 2.15.
    u32 header_end = 0;    // Where the header's bytes end in the image.
    u32 kernel_offset = 0; // Where the protected-mode kernel begins in the file, and its size.
    u64 kernel_size = 0;   //
    u32 initrd_addr_max = 0x37FFFFFF;
    u32 cmdline_size = 255; // Characters, without the terminating zero.
    u32 kernel_alignment = 0;
    bool relocatable = false;
    u16 xloadflags = 0;
    u64 pref_address = 0x100000;
    u64 init_size = 0; // Memory from where the kernel runs that it uses before it reads the memory map.

    bool has_64bit_entry() const { return xloadflags & setup_header::xlf_kernel_64; }
    bool initrd_above_4g() const { return xloadflags & setup_header::xlf_can_be_loaded_above_4g; }
};

// Reads and checks the header of an image. `name` is the file's, for the message.
Result<SetupHeader> parse_setup_header(std::span<const u8> image, std::string_view name);

} // namespace calque::firmware
