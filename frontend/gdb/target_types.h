// The types that a target description defines for the registers of a feature.
#pragma once

#include <string>
#include <string_view>

namespace calque::gdb {

std::string types_of(std::string_view feature);

} // namespace calque::gdb
