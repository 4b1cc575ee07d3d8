// The thunk that loads the x87 state.
#pragma once

#include "jit/emit/assembler.h"

namespace calque::jit {

// Emits it and returns its offset: Thunks::load_x87. It changes T0.
u32 emit_load_x87(x86::Assembler& a);

} // namespace calque::jit
