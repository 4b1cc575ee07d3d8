// How writes reach the host's file: the words of -drive cache=.
#pragma once

#include "base/result.h"

#include <string_view>

namespace calque::backends {

struct CacheMode {
    bool direct = false;       // Past the host's page cache (O_DIRECT).
    bool writethrough = false; // Each write is on the platter before it counts as done.
    bool no_flush = false;     // Flushes are promised and not done: fast, and lost when the host goes down.
};

inline constexpr CacheMode cache_writeback{}, cache_none{.direct = true}, cache_writethrough{.writethrough = true},
    cache_directsync{.direct = true, .writethrough = true}, cache_unsafe{.no_flush = true};

// The error names the modes that there are.
inline Result<CacheMode> parse_cache_mode(std::string_view text) {
    if (text == "writeback") return cache_writeback;
    if (text == "none") return cache_none;
    if (text == "writethrough") return cache_writethrough;
    if (text == "directsync") return cache_directsync;
    if (text == "unsafe") return cache_unsafe;
    return error("cache={} does not exist; there are: writeback, none, writethrough, directsync, unsafe", text);
}

} // namespace calque::backends
