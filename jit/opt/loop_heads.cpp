#include "jit/opt/passes.h"

#include <algorithm>

namespace calque::jit {

using ir::Op;

// Half of the rounds that were unrolled stand alone, before the head. What they find out (host addresses, where the
// vectors and the flags are) holds for all that follow; and loops that end soon end in them, before there is anything
// to prepare for many rounds.
void find_loop(ir::Unit& unit) {
    const auto back =
        std::find_if(unit.ops.begin(), unit.ops.end(), [&](const Op& op) { return ir::leads_back(op, unit); });
    if (back == unit.ops.end()) return;
    back->loops_back = true;
    unit.loop_head = 0;
    const auto rounds = 1 + std::count_if(unit.ops.begin(), back, [](const Op& op) { return op.loops_on; });
    auto before = rounds / 2;
    for (std::size_t n = 0; before != 0; ++n)
        if (unit.ops[n].loops_on && --before == 0) unit.loop_head = n + 1;
}

} // namespace calque::jit
