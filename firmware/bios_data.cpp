#include "firmware/bios_data.h"

#include "firmware/bytes.h"
#include "firmware/layout.h"

namespace calque::firmware {

void write_bios_data(GuestMemory& memory, const Platform& platform) {
    std::vector<u8> bda(256);
    const std::span<u8> out(bda);
    const unsigned serial_ports = platform.com1 ? 1u + platform.com2 : 0;
    constexpr u16 equipment_fpu = 1u << 1, equipment_ps2_mouse = 1u << 2;
    if (platform.com1) store(out, 0x00, 0x3F8, 2);
    if (platform.com1 && platform.com2) store(out, 0x02, 0x2F8, 2);
    store(out, 0x0E, layout::ebda >> 4, 2);
    store(out, 0x10, equipment_fpu | (platform.ps2 ? equipment_ps2_mouse : 0) | serial_ports << 9, 2);
    store(out, 0x13, layout::ebda / KiB, 2); // Base memory in KiB.
    store(out, 0x1A, 0x001E, 2);             // Keyboard buffer: head, tail, start, end.
    store(out, 0x1C, 0x001E, 2);
    store(out, 0x80, 0x001E, 2);
    store(out, 0x82, 0x003E, 2);
    if (platform.vga) {
        out[0x49] = 3;              // Video mode.
        store(out, 0x4A, 80, 2);    // Columns.
        store(out, 0x4C, 4096, 2);  // Page size.
        store(out, 0x63, 0x3D4, 2); // CRT controller.
        out[0x84] = 24;             // Rows, less one.
        store(out, 0x85, 16, 2);    // Character height.
    }
    memory.write(PhysicalAddress(layout::bda), bda);

    constexpr u64 ebda_size = layout::low_memory_end - layout::ebda;
    memory.zero(PhysicalAddress(layout::ebda), ebda_size);
    const u8 size_in_kib = ebda_size / KiB;
    memory.write(PhysicalAddress(layout::ebda), {&size_in_kib, 1});
}

std::vector<MsrSetting> mtrr_settings(const Platform& platform) {
    constexpr u32 mtrr_physbase0 = 0x200, mtrr_fix64k = 0x250, mtrr_fix16k_80000 = 0x258, mtrr_fix16k_a0000 = 0x259,
                  mtrr_fix4k_c0000 = 0x268, mtrr_def_type = 0x2FF;
    constexpr u64 write_back = 6, uncacheable = 0, eight_ranges = 0x0101010101010101, write_protect = 5;
    constexpr u64 enable = 1u << 11, enable_fixed = 1u << 10, mask_valid = 1u << 11;
    constexpr u32 pairs = 8;

    std::vector<MsrSetting> out{{mtrr_fix64k, write_back * eight_ranges},
                                {mtrr_fix16k_80000, write_back * eight_ranges},
                                {mtrr_fix16k_a0000, uncacheable}};
    for (u32 i = 0; i < 8; ++i)
        out.push_back({mtrr_fix4k_c0000 + i, write_protect * eight_ranges});

    // The hole in pieces whose size divides their base: the lowest set bit of the base.
    u64 base = platform.pci_window_32().base;
    for (u32 i = 0; i < pairs; ++i) {
        const bool used = base < 4 * GiB;
        const u64 size = base & -base;
        const u64 mask = low_mask(platform.physical_address_bits) & ~(size - 1);
        out.push_back({mtrr_physbase0 + 2 * i, used ? base | uncacheable : 0});
        out.push_back({mtrr_physbase0 + 2 * i + 1, used ? mask | mask_valid : 0});
        if (used) base += size;
    }
    out.push_back({mtrr_def_type, enable | enable_fixed | write_back});
    return out;
}

} // namespace calque::firmware
