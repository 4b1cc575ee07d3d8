// What differs between two processors.
#pragma once

#include "cpu/flags.h"
#include "cpu/state.h"

#include <fmt/format.h>
#include <string>
#include <string_view>

namespace calque::diff {

// Adds "  NAME: 0x1, but 0x2" and a line end to `text` unless the two are equal.
inline void compare(std::string& text, std::string_view name, u64 expected, u64 got) {
    if (expected != got) text += fmt::format("  {}: {:#x}, but {:#x}\n", name, expected, got);
}
// A line for each part of the architectural state that differs, but for counters of time.
std::string state_difference(const cpu::CpuState& expected, const cpu::CpuState& got);

} // namespace calque::diff
