// The named fw_cfg files from which SeaBIOS and OVMF take the machine's tables.
#pragma once

#include "firmware/platform.h"

#include <string>
#include <vector>

namespace calque::firmware {

struct FwCfgFile {
    std::string name;
    std::vector<u8> bytes;
};

// ACPI tables with their linker script, SMBIOS tables with their entry point, and RAM as E820 entries. The numbered
// items of fw_cfg (RAM size, processors, boot order) are the device's.
std::vector<FwCfgFile> fw_cfg_files(const Platform& platform);

} // namespace calque::firmware
