// The descriptor tables, page tables and registers that the boot protocols ask for.
#pragma once

#include "firmware/boot_state.h"
#include "firmware/guest_memory.h"

namespace calque::firmware {

// Selectors of the GDT at layout::gdt, as the Linux boot protocol names them (__BOOT_CS, __BOOT_DS).
inline constexpr u16 boot_cs = 0x10;
inline constexpr u16 boot_ds = 0x18;
inline constexpr u16 boot_tss = 0x20;

// Writes the GDT and gives flat 32-bit protected mode without paging. RIP and general registers are the caller's.
BootState flat_protected_mode(GuestMemory& memory);

// Also writes page tables that map the first 4 GiB to themselves, and gives 64-bit mode.
BootState identity_mapped_long_mode(GuestMemory& memory);

} // namespace calque::firmware
