#include "jit/opt/passes.h"

#include <algorithm>

namespace calque::jit {

namespace {

using ir::Op;
using ir::OpKind;

bool leads_back(const Op& op, const ir::Unit& unit) {
    return (op.kind == OpKind::branch || op.kind == OpKind::jump) && op.target == unit.linear && !op.literal.host;
}

} // namespace

// The first of at least three rounds stands alone, before the head: what it finds out (host addresses, where the
// vectors and the flags are) holds for all that follow.
void find_loop(ir::Unit& unit) {
    const auto back =
        std::find_if(unit.ops.begin(), unit.ops.end(), [&](const Op& op) { return leads_back(op, unit); });
    if (back == unit.ops.end()) return;
    back->loops_back = true;
    const auto rounds = std::count_if(unit.ops.begin(), back, [](const Op& op) { return op.loops_on; });
    if (rounds < 2) {
        unit.loop_head = 0;
        return;
    }
    const auto first = std::find_if(unit.ops.begin(), back, [](const Op& op) { return op.loops_on; });
    unit.loop_head = static_cast<std::size_t>(first - unit.ops.begin()) + 1;
}

} // namespace calque::jit
