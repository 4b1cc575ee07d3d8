// What this host's emitter cannot do is left to the handlers, before the passes see it.
#pragma once

#include "jit/ir/unit.h"

namespace calque::jit {

void legalize(ir::Unit& unit);

} // namespace calque::jit
