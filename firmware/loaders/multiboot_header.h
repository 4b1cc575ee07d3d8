// The header by which a kernel says that it follows the Multiboot Specification 0.6.96 (3.1).
#pragma once

#include "base/types.h"

#include <optional>
#include <span>

namespace calque::firmware {

struct MultibootHeader {
    u32 offset = 0; // In the file.
    u32 flags = 0;
    u32 header_addr = 0, load_addr = 0, load_end_addr = 0, bss_end_addr = 0, entry_addr = 0; // With flag 16.

    bool wants_video() const { return flags & 1u << 2; }
    bool has_addresses() const { return flags & 1u << 16; }
    // Requirements (bits 15:0) that this loader does not know.
    u32 unknown_requirements() const { return flags & 0xFFF8; }
};

// The first header with a right checksum in the first 8 KiB.
std::optional<MultibootHeader> find_multiboot_header(std::span<const u8> image);
// Whether there is one of Multiboot 2 in the first 32 KiB.
bool has_multiboot2_header(std::span<const u8> image);

} // namespace calque::firmware
