// The memory map that a guest gets (the entries of INT 15h, E820h; ACPI specification, "System Address Map
// Interfaces").
#pragma once

#include "firmware/platform.h"

#include <vector>

namespace calque::firmware {

enum class E820Type : u32 { ram = 1, reserved = 2, acpi = 3, nvs = 4, unusable = 5 };

struct E820Entry {
    u64 base = 0;
    u64 size = 0;
    E820Type type = E820Type::reserved;
    u64 end() const { return base + size; }
    bool operator==(const E820Entry&) const = default;
};

// Sorted, without overlaps, neighbours of one type joined.
class E820Map {
  public:
    // Gives [base, base + size) the type, over whatever it was. Size 0 changes nothing; the end must not pass 2^64.
    void add(u64 base, u64 size, E820Type type);
    const std::vector<E820Entry>& entries() const { return entries_; }
    // Whether every byte of the range is RAM.
    bool is_ram(u64 base, u64 size) const;
    // The highest address of `size` bytes of RAM, aligned to `alignment` (a power of two), that lies in [floor, limit);
    // 0 where there is none.
    u64 highest_fit(u64 size, u64 alignment, u64 floor, u64 limit) const;

  private:
    std::vector<E820Entry> entries_;
};

// Where firmware keeps its own things when no BIOS runs; all inside low RAM.
struct FirmwareAreas {
    AddressRange ebda;        // 1 KiB below 640 KiB.
    AddressRange f_segment;   // 0xF0000-0xFFFFF: RSDP, SMBIOS, MP and $PIR tables.
    AddressRange acpi_nvs;    // The FACS.
    AddressRange acpi_tables; // At the top of low RAM.
};
// `acpi_bytes` is the size of the table blob, which starts with the page of the FACS.
FirmwareAreas firmware_areas(const Platform& platform, u64 acpi_bytes);

// The map for a machine that is started without a BIOS.
E820Map e820_map(const Platform& platform, const FirmwareAreas& areas);

} // namespace calque::firmware
