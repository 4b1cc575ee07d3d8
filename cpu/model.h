// Which CPU the guest sees: features, names, topology.
#pragma once

#include "base/result.h"
#include "cpu/features.h"

#include <string>
#include <string_view>
#include <vector>

namespace calque::cpu {

struct CpuModel {
    std::string name = "max";
    std::string vendor = "GenuineIntel";      // 12 characters.
    std::string brand = "Calque virtual CPU"; // Up to 47 characters.
    // An in-order core of Intel's. Guests take the absence of speculation from the model's number, and then leave out
    // the mitigations that IA32_ARCH_CAPABILITIES has no bit for (retpolines, LFENCEs at bounds checks); translated
    // code would only pay for them, since it is not what the host's predictors see.
    u32 family = 6, model = 0x1C, stepping = 0xA;
    FeatureSet features = everything();
    u32 cores = 1; // Logical processors in the package (-smp).

    // Parses -cpu: "max" or another known name, then ,+feature ,-feature ,feature=on|off. Errors name what exists.
    static Result<CpuModel> parse(std::string_view text);
    // CPUID.1:EAX, and EDX after reset (SDM volume 3, table 9-1).
    u32 signature() const {
        const u32 base_family = family < 0xF ? family : 0xF;
        return (family - base_family) << 20 | (model >> 4) << 16 | base_family << 8 | (model & 0xF) << 4 | stepping;
    }
    // All that this emulator has: each feature of the table but MONITOR. A guest that idles with MWAIT waits for stores
    // that nothing here watches.
    static FeatureSet everything() {
        FeatureSet set = FeatureSet::all();
        set.set(Feature::monitor, false);
        return set;
    }
    static std::vector<std::string> names();
    static std::string help(); // For -cpu help.
};

} // namespace calque::cpu
