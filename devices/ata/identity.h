// Text in IDENTIFY data.
#pragma once

#include "base/types.h"

#include <array>
#include <string_view>

namespace calque::devices {

// Two characters a word, the first in the high byte, padded with spaces. Bytes that are not printable become spaces.
inline void put_identify_text(std::array<u16, 256>& words, unsigned first, unsigned count, std::string_view text) {
    for (unsigned i = 0; i < 2 * count; ++i) {
        const char c = i < text.size() && text[i] >= ' ' && text[i] <= '~' ? text[i] : ' ';
        u16& word = words[first + i / 2];
        word = static_cast<u16>(i % 2 ? (word & 0xFF00) | static_cast<u8>(c) : static_cast<u8>(c) << 8);
    }
}

// Words 63 and 88: the DMA modes that there are, and the one that SET FEATURES chose.
inline void put_identify_modes(std::array<u16, 256>& words, u8 mode) {
    words[63] = 0x0007;
    words[88] = 0x003F;
    const u16 chosen = static_cast<u16>(0x100 << (mode & 7));
    words[mode >= 0x40 ? 88 : 63] |= chosen;
}

} // namespace calque::devices
