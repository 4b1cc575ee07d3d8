// The ACPI tables of the machine (ACPI specification 6.4; FADT in its revision 3 form).
#pragma once

#include "firmware/platform.h"

#include <string>
#include <vector>

namespace calque::firmware {

// The tables as position-independent blobs with the list of what to fix once their addresses are known. In direct boot
// place() does that; a BIOS does it by the script that table_loader_script() writes for fw_cfg.
struct AcpiTables {
    enum class Blob : u8 { tables, rsdp };
    struct Pointer { // At [offset, +size) of `in` stands an offset into `to`; add the address of `to`.
        Blob in;
        Blob to;
        u32 offset;
        u8 size;
    };
    struct Checksum { // Byte `offset` of `in` makes [start, start + length) sum to zero.
        Blob in;
        u32 offset;
        u32 start;
        u32 length;
    };
    std::vector<u8> tables; // The FACS, padded to one page, then the others, XSDT last. Page-aligned when placed.
    std::vector<u8> rsdp;   // 36 bytes, to be placed on a multiple of 16 within 0xE0000-0xFFFFF.
    std::vector<Pointer> pointers;
    std::vector<Checksum> checksums; // In the order in which they are to be computed.
};

AcpiTables build_acpi(const Platform& platform);

// Applies the pointers and checksums for these addresses, in place.
void place(AcpiTables& acpi, PhysicalAddress tables, PhysicalAddress rsdp);

// The fw_cfg file etc/table-loader for the unplaced blobs, as SeaBIOS and OVMF run it (names etc/acpi/tables,
// etc/acpi/rsdp).
std::vector<u8> table_loader_script(const AcpiTables& acpi);

} // namespace calque::firmware
