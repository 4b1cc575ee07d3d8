// Whether this machine's processor is the one that the comparisons are made for.
#pragma once

#include "jit/engine.h"

#include <cstdio>

namespace calque::diff {

// Else says why `tool` has nothing to compare here (status 77: skipped).
inline bool translator_is_comparable(const char* tool) {
    __builtin_cpu_init();
    if (__builtin_cpu_is("amd") && jit::Engine::supported()) return true;
    std::printf("%s: translated code takes what the manuals leave undefined from the host, the interpreter from\n"
                "AMD's Zen; this is another processor, or one without what translated code needs\n",
                tool);
    return false;
}

} // namespace calque::diff
