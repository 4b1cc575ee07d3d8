// Where direct boot puts what a BIOS and a boot loader leave in the first megabyte.
#pragma once

#include "firmware/platform.h"

namespace calque::firmware::layout {

inline constexpr u64 bda = 0x400;          // BIOS data area, 256 bytes.
inline constexpr u64 gdt = 0x6000;         // The GDT and the TSS that the boot state names.
inline constexpr u64 tss = 0x6100;         //
inline constexpr u64 stack_top = 0x7000;   // Below it, 3 KiB of stack.
inline constexpr u64 boot_params = 0x7000; // Linux's zero page.
inline constexpr u64 page_tables = 0x9000; // PML4, PDPT and four page directories.
// Command lines and boot information of all protocols.
inline constexpr AddressRange arena{0x20000, 0x70000};

inline constexpr u64 ebda = 0x9FC00;
inline constexpr u64 low_memory_end = 0xA0000;
inline constexpr AddressRange f_segment{0xF0000, 0x10000};
inline constexpr u64 reset_vector = 0xFFFF0;

} // namespace calque::firmware::layout
