// Bochs' VBE extension: modes of any size with a linear framebuffer, set by a handful of registers.
#include "devices/vga/registers.h"

#include <algorithm>

namespace calque::devices::vga {

namespace {

bool valid_depth(u16 bits) { return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32; }

u32 bits_in_memory(u16 depth) { return depth == 15 ? 16 : depth; }

// Of memory, in bytes: from one row to the next, all planes together.
u64 row_bytes(const Registers& r) { return u64{r.dispi[DISPI_VIRT_WIDTH]} * bits_in_memory(r.dispi[DISPI_BPP]) / 8; }

// Widths come in multiples of 8 pixels.
u16 settle_width(u16 width, u16 least) { return std::clamp<u16>(width & ~7, least, DISPI_MAX_XRES); }

} // namespace

u32 dispi_pitch(const Registers& r) {
    const u32 depth = r.dispi[DISPI_BPP];
    return depth == 4 ? r.dispi[DISPI_VIRT_WIDTH] / 8u
                      : r.dispi[DISPI_VIRT_WIDTH] * bits_in_memory(r.dispi[DISPI_BPP]) / 8;
}

void settle_dispi(Registers& r, u64 memory) {
    auto& d = r.dispi;
    if (d[DISPI_ID] < DISPI_ID_FIRST || d[DISPI_ID] > DISPI_ID_LAST) d[DISPI_ID] = DISPI_ID_LAST;
    if (!valid_depth(d[DISPI_BPP])) d[DISPI_BPP] = 8;
    d[DISPI_XRES] = settle_width(d[DISPI_XRES], 8);
    d[DISPI_VIRT_WIDTH] = settle_width(d[DISPI_VIRT_WIDTH], d[DISPI_XRES]);
    const u64 rows = memory / row_bytes(r); // At least 8: a row has 32 KiB at most, memory 1 MiB at least.
    d[DISPI_YRES] = std::clamp<u16>(d[DISPI_YRES], 1, static_cast<u16>(std::min<u64>(rows, DISPI_MAX_YRES)));
    d[DISPI_VIRT_HEIGHT] = static_cast<u16>(std::min<u64>(rows, 0xFFFF));
    d[DISPI_X_OFFSET] = std::min<u16>(d[DISPI_X_OFFSET], d[DISPI_VIRT_WIDTH] - d[DISPI_XRES]);
    d[DISPI_Y_OFFSET] = std::min<u16>(d[DISPI_Y_OFFSET], d[DISPI_VIRT_HEIGHT] - d[DISPI_YRES]);
    const u64 banks = memory >> (d[DISPI_BPP] == 4 ? 18 : 16);
    d[DISPI_BANK] = static_cast<u16>(d[DISPI_BANK] % std::max<u64>(banks, 1));
}

u16 read_dispi(const Registers& r, unsigned index, u64 memory) {
    if (index >= DISPI_COUNT) return 0;
    if (index == DISPI_VIDEO_MEMORY_64K) return static_cast<u16>(memory >> 16);
    if (r.dispi[DISPI_ENABLE] & DISPI_GETCAPS) {
        if (index == DISPI_XRES) return DISPI_MAX_XRES;
        if (index == DISPI_YRES) return DISPI_MAX_YRES;
        if (index == DISPI_BPP) return DISPI_MAX_BPP;
    }
    return r.dispi[index];
}

bool write_dispi(Registers& r, unsigned index, u16 value, u64 memory) {
    auto& d = r.dispi;
    bool clear = false;
    switch (index) {
    case DISPI_ID:
        if (value >= DISPI_ID_FIRST && value <= DISPI_ID_LAST) d[DISPI_ID] = value;
        return false;
    case DISPI_BPP:
        if (value == 0) value = 8;
        if (valid_depth(value)) d[DISPI_BPP] = value;
        break;
    case DISPI_ENABLE: {
        const bool switched_on = (value & DISPI_ENABLED) && !r.vbe();
        d[DISPI_ENABLE] = value & (DISPI_ENABLED | DISPI_GETCAPS | DISPI_8BIT_DAC | 0x40 | DISPI_NOCLEARMEM);
        if (switched_on) {
            d[DISPI_VIRT_WIDTH] = d[DISPI_XRES];
            d[DISPI_X_OFFSET] = d[DISPI_Y_OFFSET] = 0;
            clear = !(value & DISPI_NOCLEARMEM);
        }
        if (!(value & DISPI_ENABLED)) d[DISPI_BANK] = 0;
        break;
    }
    case DISPI_XRES:
    case DISPI_YRES:
    case DISPI_BANK:
    case DISPI_VIRT_WIDTH:
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET: d[index] = value; break;
    default: return false; // Read-only, or none.
    }
    settle_dispi(r, memory);
    return clear;
}

} // namespace calque::devices::vga
