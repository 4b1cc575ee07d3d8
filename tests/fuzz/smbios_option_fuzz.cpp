// Lines of -smbios options, then the tables that they make.

#include "firmware/bytes.h"
#include "firmware/smbios/smbios.h"

#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace calque;
    using namespace calque::firmware;
    std::string_view text(reinterpret_cast<const char*>(data), size);
    Platform platform;
    platform.ram = ram_layout(64 * MiB);
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        if (const auto applied = apply_smbios_option(platform.identity, line);
            !applied && applied.error().message.empty())
            std::abort();
    }
    const SmbiosTables tables = build_smbios(platform);
    if (sum(tables.entry_point) != 0 || sum(tables.entry_point_64) != 0) std::abort();
    return 0;
}
