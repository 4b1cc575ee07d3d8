// Which units to show as text, and what of them: the argument of --dump.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <string_view>

namespace calque::jit {

struct UnitParts {
    bool guest = true, ir = true, host = true;
};

// Which units to write, when they are made and at the end.
struct UnitDumpRequest {
    UnitParts parts;
    u64 address = 0;       // A linear address of a byte in them.
    bool keep_all = false; // Instead: none, but the latest text of each unit is kept.
};
// "ir,host,guest@ADDRESS", in any order, each at most once; the address as C writes numbers.
Result<UnitDumpRequest> parse_unit_dump(std::string_view text);

} // namespace calque::jit
