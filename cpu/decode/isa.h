// Which instruction sets of Zydis's classification the guest CPU has. Included in cpu/decode only.
#pragma once

#include "cpu/features.h"

#include <Zydis/Zydis.h>
#include <array>

namespace calque::cpu {

using IsaSets = std::array<bool, ZYDIS_ISA_SET_MAX_VALUE + 1>;

// By ZydisISASet: true where `features` has it. Sets that no model of ours has (AVX-512, TSX, 3DNow and so on) are
// false: their encodings are undefined.
IsaSets isa_sets(const FeatureSet& features);

} // namespace calque::cpu
