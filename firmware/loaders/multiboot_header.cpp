#include "firmware/loaders/multiboot_header.h"

#include "firmware/bytes.h"

#include <algorithm>

namespace calque::firmware {

namespace {

constexpr u32 magic_1 = 0x1BADB002, magic_2 = 0xE85250D6;
constexpr std::size_t search_1 = 8192, search_2 = 32768;

} // namespace

std::optional<MultibootHeader> find_multiboot_header(std::span<const u8> image) {
    const std::size_t end = std::min(image.size(), search_1);
    for (std::size_t at = 0; at + 12 <= end; at += 4) {
        if (load(image, at, 4) != magic_1) continue;
        MultibootHeader header;
        header.offset = static_cast<u32>(at);
        header.flags = static_cast<u32>(load(image, at + 4, 4));
        if (static_cast<u32>(magic_1 + header.flags + load(image, at + 8, 4)) != 0) continue;
        if (!header.has_addresses()) return header;
        if (at + 32 > end) continue;
        u32* const fields[]{&header.header_addr, &header.load_addr, &header.load_end_addr, &header.bss_end_addr,
                            &header.entry_addr};
        for (std::size_t i = 0; i < std::size(fields); ++i)
            *fields[i] = static_cast<u32>(load(image, at + 12 + 4 * i, 4));
        return header;
    }
    return std::nullopt;
}

bool has_multiboot2_header(std::span<const u8> image) {
    const std::size_t end = std::min(image.size(), search_2);
    for (std::size_t at = 0; at + 16 <= end; at += 8)
        if (load(image, at, 4) == magic_2
            && static_cast<u32>(magic_2 + load(image, at + 4, 4) + load(image, at + 8, 4) + load(image, at + 12, 4))
                   == 0)
            return true;
    return false;
}

} // namespace calque::firmware
