// ELF executables (System V gABI, chapters 4 and 5), 32- and 64-bit, for x86.
#pragma once

#include "firmware/loaders/loaders.h"

#include <optional>
#include <vector>

namespace calque::firmware {

struct ElfSegment {
    u64 offset = 0, file_size = 0; // In the file; checked to lie inside.
    u64 linear = 0, physical = 0;  // p_vaddr, p_paddr
    u64 memory_size = 0;           // At least file_size; physical + memory_size does not wrap.
    u64 alignment = 0;
};

struct ElfImage {
    bool is_64bit = false;
    u64 entry = 0;                 // As the header has it.
    std::vector<ElfSegment> loads; // PT_LOAD that occupy memory, in order of physical address, without overlaps.
    std::vector<ElfSegment> notes; // PT_NOTE

    u64 physical_end() const { return loads.back().physical + loads.back().memory_size; }
    // The physical address of the entry point, for kernels that are linked at another linear address.
    u64 physical_entry() const;
};

bool looks_like_elf(std::span<const u8> image);
// Checks every header field that loading depends on. `name` is the file's, for the message.
Result<ElfImage> parse_elf(std::span<const u8> image, std::string_view name);

// Copies the segments to their physical addresses and clears what the file does not fill. Refuses addresses that are
// not free RAM.
Result<void> load_elf(const LoadContext& context, const ElfImage& elf, const BootRequest& request);
// The check of load_elf for one range.
Result<void> check_load_range(const LoadContext& context, std::string_view name, u64 address, u64 size);

// The entry point in the XEN_ELFNOTE_PHYS32_ENTRY note, if the image has one.
std::optional<u64> pvh_entry(std::span<const u8> image, const ElfImage& elf);

} // namespace calque::firmware
