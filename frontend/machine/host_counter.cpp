#include "frontend/machine/host_counter.h"

#include <chrono>
#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

namespace calque::machine {

#if defined(__x86_64__)

// "Invariant TSC": SDM volume 2, CPUID leaf 80000007h.
bool HostCounter::usable() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(0x8000'0007, &a, &b, &c, &d) && (d & 1u << 8);
}

u64 HostCounter::now() { return __rdtsc(); }

#else

bool HostCounter::usable() { return false; }
u64 HostCounter::now() { return 0; }

#endif

// Of several tries the one that was interrupted least.
HostCounter::Sample HostCounter::sample() {
    Sample best;
    u64 least = ~u64{0};
    for (int n = 0; n < 5; ++n) {
        const u64 before = now();
        const auto time = std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
        const u64 width = now() - before;
        if (width >= least) continue;
        least = width;
        best = {before + width / 2, static_cast<u64>(time)};
    }
    return best;
}

} // namespace calque::machine
