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
    u32 family = 6, model = 0x5E, stepping = 3;
    FeatureSet features = FeatureSet::all();
    u32 cores = 1; // Logical processors in the package (-smp).

    // Parses -cpu: "max" or another known name, then ,+feature ,-feature ,feature=on|off. Errors name what exists.
    static Result<CpuModel> parse(std::string_view text);
    static std::vector<std::string> names();
    static std::string help(); // For -cpu help.
};

} // namespace calque::cpu
