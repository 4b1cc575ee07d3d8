// -netdev's keys and values, and forwards.
#include "frontend/backends/net/net_options.h"
#include "tests/fuzz/device_driver.h"

using namespace calque;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    static_cast<void>(backends::parse_host_forward(text));
    static_cast<void>(backends::parse_host_forward(text, false));
    static_cast<void>(backends::parse_endpoint(text));
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) return 0;
    const std::pair<std::string, std::string> pair{text.substr(0, equals), text.substr(equals + 1)};
    for (const char* kind : {"user", "socket", "tap"})
        static_cast<void>(backends::parse_net(kind, {pair}));
    return 0;
}
