// SMBIOS tables (DSP0134 3.0): the machine's identity, for dmidecode, udev and licence managers.
#pragma once

#include "base/result.h"
#include "firmware/platform.h"

#include <string_view>
#include <vector>

namespace calque::firmware {

struct SmbiosTables {
    std::vector<u8> structures;     // The structure table.
    std::vector<u8> entry_point;    // 2.8, 32-bit, "_SM_", 31 bytes; the table's address is zero until placed.
    std::vector<u8> entry_point_64; // 3.0, "_SM3_", 24 bytes; likewise.
};

SmbiosTables build_smbios(const Platform& platform);
// Sets the address of the structure table and the checksums.
void place(SmbiosTables& smbios, PhysicalAddress structures);

// One -smbios option, "type=1,manufacturer=..,serial=.." (a doubled comma stands for a comma).
Result<void> apply_smbios_option(Identity& identity, std::string_view option);
// "8-4-4-4-12" hexadecimal digits, in the order they are written.
Result<std::array<u8, 16>> parse_uuid(std::string_view text);

} // namespace calque::firmware
