#include "jit/opt/passes.h"

#include <algorithm>

namespace calque::jit {

namespace {

using ir::Op;
using ir::OpKind;

constexpr std::size_t most_rounds = 8, longest_loop = 128; // Rounds; operations in all of them.
constexpr std::size_t usual_unit = 64;                     // Units that are to be shorter have no longer loops either.

// What leads back leads on instead: the next round stands behind it.
void go_around(Op& op) {
    op.loops_on = true;
    if (op.kind == OpKind::jump) {
        op.kind = OpKind::nothing;
        op.target = 0;
    } else {
        op.condition ^= 1;
        op.target = op.next_rip();
    }
}

} // namespace

// A unit that leads back to its own start is a loop: a few rounds of it stand one behind the other, so that the other
// passes see them as one piece, and events are looked for once in all of them.
void unroll_loop(ir::Unit& unit, std::size_t longest) {
    const auto back =
        std::find_if(unit.ops.begin(), unit.ops.end(), [&](const Op& op) { return ir::leads_back(op, unit); });
    if (back == unit.ops.end()) return;
    const std::size_t length = static_cast<std::size_t>(back - unit.ops.begin()) + 1;
    const std::size_t rounds = std::min(most_rounds, (longest < usual_unit ? longest : longest_loop) / length);
    const auto opaque = [](const Op& op) {
        return op.kind == OpKind::interpret || op.kind == OpKind::enable_interrupts;
    };
    if (rounds < 2 || std::any_of(unit.ops.begin(), back, opaque)) return;
    unit.ops.resize(length);
    const std::vector<Op> round(unit.ops.begin(), unit.ops.end());
    while (unit.ops.size() < length * rounds) {
        go_around(unit.ops.back());
        unit.ops.insert(unit.ops.end(), round.begin(), round.end());
    }
    if (round.back().kind == OpKind::jump) return;
    Op end;
    end.kind = OpKind::fall_through;
    end.rip = end.target = round.back().next_rip();
    unit.ops.push_back(end);
}

} // namespace calque::jit
