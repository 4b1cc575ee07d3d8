// The static ACPI tables, each with its header; length is set, checksum and pointers are not.
#pragma once

#include "firmware/platform.h"

#include <string_view>
#include <vector>

namespace calque::firmware {

// Offsets that the pointers and checksums of AcpiTables need.
namespace acpi_offset {
inline constexpr u32 header_checksum = 9, header_size = 36;
inline constexpr u32 fadt_facs = 36, fadt_dsdt = 40, fadt_x_dsdt = 140;
inline constexpr u32 rsdp_checksum = 8, rsdp_rsdt = 16, rsdp_v1_size = 20, rsdp_xsdt = 24, rsdp_ext_checksum = 32,
                     rsdp_size = 36;
} // namespace acpi_offset

// A system description table (5.2.6): header and body.
std::vector<u8> acpi_table(std::string_view signature, u8 revision, const std::vector<u8>& body);

std::vector<u8> facs();
std::vector<u8> fadt(const Platform& platform);
std::vector<u8> madt(const Platform& platform);
std::vector<u8> hpet_table(const Platform& platform);
std::vector<u8> waet();
std::vector<u8> rsdp();

} // namespace calque::firmware
