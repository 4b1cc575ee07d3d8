// XCR0's bits and what of the state they stand for (SDM volume 1, chapter 13).
#pragma once

#include "cpu/features.h"
#include "cpu/state.h"

namespace calque::cpu {

inline constexpr u64 xcr0_x87 = 1u << 0, xcr0_sse = 1u << 1, xcr0_avx = 1u << 2, xcr0_pkru = 1u << 9;

// What XSETBV accepts, and CPUID leaf Dh reports.
u64 xcr0_supported(const FeatureSet& features);
// XINUSE: the components that are not in their initial configuration. SSE covers XMM registers; MXCSR, which XSAVE
// handles by its own rule, counts as SSE here.
u64 components_in_use(const CpuState& state);

} // namespace calque::cpu
