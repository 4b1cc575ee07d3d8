#include "devices/vga/legacy_window.h"

namespace calque::devices::vga {

namespace {
constexpr u32 bank_size = 0x10000;

u8 rotate_right(u8 value, unsigned count) { return static_cast<u8>(value >> count | value << (8 - count)); }
u8 all_bits(bool on) { return on ? 0xFF : 0; }
} // namespace

std::optional<u32> LegacyWindow::decode(u32 offset) const {
    if (!(r_.misc_output & MISC_RAM_ENABLE)) return std::nullopt;
    switch ((r_.graphics[GR_MISCELLANEOUS] >> 2) & 3) {
    case 0: return offset;
    case 1: return offset < 0x10000 ? std::optional(offset) : std::nullopt;
    case 2: return offset >= 0x10000 && offset < 0x18000 ? std::optional(offset - 0x10000) : std::nullopt;
    default: return offset >= 0x18000 ? std::optional(offset - 0x18000) : std::nullopt;
    }
}

// Where VBE's bank shows in memory.
std::optional<u64> LegacyWindow::linear(u32 offset) const {
    const u64 at = u64{r_.dispi[DISPI_BANK]} * bank_size + offset;
    return offset < bank_size && at < memory_.size() ? std::optional(at) : std::nullopt;
}

LegacyWindow::Place LegacyWindow::place(u32 address) const {
    const u8 mode = r_.sequencer[SR_MEMORY_MODE], map = r_.sequencer[SR_MAP_MASK] & 15;
    u32 bank = 0, mask = 0xFFFF;
    if (r_.vbe()) { // With 4 bits: each plane is larger than a window.
        bank = r_.dispi[DISPI_BANK] * bank_size;
        mask = static_cast<u32>(memory_.size() / 4 - 1);
    }
    if (mode & MEMORY_CHAIN_4) { // Address bits 1 and 0 choose the plane.
        const u8 plane = address & 3;
        return {((address & ~3u) + bank) & mask, static_cast<u8>(map & 1 << plane), plane};
    }
    Place place{(address + bank) & mask, map, static_cast<u8>(r_.graphics[GR_READ_MAP] & 3)};
    const u8 odd = address & 1;
    if (!(mode & MEMORY_SEQUENTIAL)) { // Even addresses are of planes 0 and 2, odd ones of 1 and 3.
        place.planes &= odd ? 0b1010 : 0b0101;
        place.address &= ~1u;
    }
    if (r_.graphics[GR_MODE] & MODE_HOST_ODD_EVEN) {
        place.plane = static_cast<u8>((place.plane & 2) | odd);
        place.address &= ~1u;
    }
    return place;
}

u8* LegacyWindow::planes_at(u32 address) { return memory_.data() + (u64{address} * 4 & (memory_.size() - 1)); }

u8 LegacyWindow::read(u32 offset) {
    if (r_.vbe_linear()) {
        const auto at = linear(offset);
        return at ? memory_.data()[*at] : 0xFF;
    }
    const auto address = decode(offset);
    return address ? read_planes(place(*address)) : 0xFF;
}

u8 LegacyWindow::read_planes(const Place& place) {
    const u8* const planes = planes_at(place.address);
    std::copy(planes, planes + 4, r_.latches.begin());
    if (!(r_.graphics[GR_MODE] & MODE_READ_COMPARE)) return r_.latches[place.plane];
    // A bit for each pixel whose colour is the one compared with, in the planes that one cares about.
    u8 different = 0;
    for (unsigned p = 0; p < 4; ++p)
        if (r_.graphics[GR_COLOR_DONT_CARE] >> p & 1)
            different |= r_.latches[p] ^ all_bits(r_.graphics[GR_COLOR_COMPARE] >> p & 1);
    return static_cast<u8>(~different);
}

void LegacyWindow::write(u32 offset, u8 value) {
    if (r_.vbe_linear()) {
        const auto at = linear(offset);
        if (!at) return;
        memory_.data()[*at] = value;
        return memory_.note_write(*at, 1);
    }
    const auto address = decode(offset);
    if (address) write_planes(place(*address), value);
}

void LegacyWindow::write_planes(const Place& place, u8 value) {
    const auto& g = r_.graphics;
    const unsigned mode = g[GR_MODE] & 3, function = g[GR_ROTATE] >> 3 & 3;
    const u8 rotated = rotate_right(value, g[GR_ROTATE] & 7);
    const u8 mask = mode == 3 ? g[GR_BIT_MASK] & rotated : g[GR_BIT_MASK];
    u8* const planes = planes_at(place.address);
    for (unsigned p = 0; p < 4; ++p) {
        if (!(place.planes >> p & 1)) continue;
        const u8 latch = r_.latches[p], set_reset = all_bits(g[GR_SET_RESET] >> p & 1);
        if (mode == 1) {
            planes[p] = latch;
            continue;
        }
        u8 data = mode == 2 ? all_bits(value >> p & 1) : set_reset;
        if (mode == 0 && !(g[GR_ENABLE_SET_RESET] >> p & 1)) data = rotated;
        switch (function) {
        case 1: data &= latch; break;
        case 2: data |= latch; break;
        case 3: data ^= latch; break;
        default: break;
        }
        planes[p] = static_cast<u8>((data & mask) | (latch & ~mask));
    }
    memory_.note_write(static_cast<u64>(planes - memory_.data()), 4);
}

} // namespace calque::devices::vga
