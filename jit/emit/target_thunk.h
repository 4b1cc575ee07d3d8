// The look into the second level of the target cache.
#pragma once

#include "jit/cache/target_index.h"
#include "jit/emit/assembler.h"

namespace calque::jit {

// T0: a linear address; keeps it, and all but T1 and the flags. Goes to `found` with the host address of the code for
// it in T1, which the target cache of the mode's table then has too, or to `miss`.
void emit_target_lookup(x86::Assembler& a, const TargetIndex& index, mmu::RightsMode mode, asmjit::Label found,
                        asmjit::Label miss);

} // namespace calque::jit
