// VGATHER: the loads by a vector of indexes.
#pragma once

#include "jit/translate/translate.h"

namespace calque::jit {

// False when the handler has to do it. `addressable`: the memory operand can be checked, and op.segment is set.
bool as_gather(ir::Op& op, const UnitMode& mode, bool addressable);

} // namespace calque::jit
