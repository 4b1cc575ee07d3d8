// Where the XSAVE area keeps which component (SDM volume 1, 13.4). For CPUID and for XSAVE itself.
#pragma once

#include "base/types.h"

#include <array>

namespace calque::cpu {

struct XsaveComponent {
    u32 number; // Bit of XCR0.
    u32 size;   // In bytes.
    u32 offset; // In the standard format.
};
inline constexpr u32 xsave_legacy_size = 512, xsave_header_size = 64;
// Beyond x87 and SSE, which the legacy region holds.
inline constexpr std::array xsave_components{
    XsaveComponent{2, 256, 576}, // AVX: the upper halves of the YMM registers.
    XsaveComponent{9, 8, 2688},  // PKRU.
};
inline constexpr const XsaveComponent& xsave_avx = xsave_components[0];
inline constexpr const XsaveComponent& xsave_pkru = xsave_components[1];

constexpr u32 xsave_standard_size(u64 components) {
    u32 size = xsave_legacy_size + xsave_header_size;
    for (const XsaveComponent& c : xsave_components)
        if ((components >> c.number & 1) && c.offset + c.size > size) size = c.offset + c.size;
    return size;
}
// The compacted format: one after the other, none of ours aligned.
constexpr u32 xsave_compacted_size(u64 components) {
    u32 size = xsave_legacy_size + xsave_header_size;
    for (const XsaveComponent& c : xsave_components)
        if (components >> c.number & 1) size += c.size;
    return size;
}

} // namespace calque::cpu
