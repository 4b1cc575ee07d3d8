#include "jit/opt/passes.h"

namespace calque::jit {

// Backwards from the end, where everything counts.
void find_dead_flags(ir::Unit& unit) {
    bool needed = true;
    for (auto op = unit.ops.rbegin(); op != unit.ops.rend(); ++op) {
        op->flags_needed_after = needed;
        const bool replaced = op->writes == ir::all_flags;
        needed = op->observes_flags() || op->reads != 0 || (needed && !replaced);
        op->flags_needed = needed;
    }
}

std::string run_passes(ir::Unit& unit, const Switches& switches, std::size_t longest) {
    if (switches.loop_unrolling) unroll_loop(unit, longest);
    if (switches.loop_heads) find_loop(unit);
    if (switches.check_elimination) share_checks(unit);
    if (switches.flag_liveness) find_dead_flags(unit);
    return switches.verify ? ir::verify(unit) : std::string();
}

} // namespace calque::jit
