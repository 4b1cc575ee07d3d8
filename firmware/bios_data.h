// What a BIOS leaves in low memory beside its tables.
#pragma once

#include "firmware/boot_state.h"
#include "firmware/guest_memory.h"
#include "firmware/platform.h"

#include <vector>

namespace calque::firmware {

// The BIOS data area at 0x400 (EBDA segment, base memory size, ports, equipment) and the EBDA's size byte.
void write_bios_data(GuestMemory& memory, const Platform& platform);

// MTRRs (SDM Vol. 3, 11.11): write-back by default, uncacheable from the PCI window to 4 GiB and at 0xA0000-0xBFFFF,
// write-protected ROM area.
std::vector<MsrSetting> mtrr_settings(const Platform& platform);

} // namespace calque::firmware
