// Sizes in messages.
#pragma once

#include "firmware/platform.h"

#include <fmt/format.h>
#include <string>

namespace calque::firmware {

// "12 bytes", "34.5 KiB", "128 MiB": exact where that is short.
inline std::string size_text(u64 bytes) {
    const auto scaled = [&](u64 unit, const char* name) {
        const u64 tenths = bytes / unit * 10 + bytes % unit * 10 / unit;
        return tenths % 10 ? fmt::format("{}.{} {}", tenths / 10, tenths % 10, name)
                           : fmt::format("{} {}", tenths / 10, name);
    };
    if (bytes >= GiB) return scaled(GiB, "GiB");
    if (bytes >= MiB) return scaled(MiB, "MiB");
    if (bytes >= KiB) return scaled(KiB, "KiB");
    return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
}

} // namespace calque::firmware
