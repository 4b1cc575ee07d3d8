#include "frontend/backends/chardev.h"

#include <cstdlib>

using namespace calque;

// Whatever is typed gives options that make sense, or a sentence.
extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    const std::string text(data, data + size);
    for (const auto& parsed : {backends::parse_short_chardev(text), backends::parse_chardev(text)}) {
        using Kind = backends::ChardevOptions::Kind;
        if (!parsed.ok() && parsed.error().message.empty()) std::abort();
        if (parsed.ok() && parsed->kind == Kind::file && parsed->path.empty()) std::abort();
        if (parsed.ok() && parsed->kind == Kind::socket && parsed->path.empty() && parsed->port == 0
            && parsed->descriptor < 0)
            std::abort();
    }
    return 0;
}
