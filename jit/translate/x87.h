// Which x87 and MMX instructions run on the host's unit, and how.
#pragma once

#include "jit/translate/row_class.h"
#include "jit/translate/translate.h"

namespace calque::jit {

// The handler of this instruction looks at the x87 state, or changes it: MMX too, and what saves or loads it.
bool uses_x87_state(const cpu::Form& form, std::string_view name);

// For rows of RowKind::x87 to x87_wait: sets the kind of `op` and its use of the unit, and nothing of its memory
// operand. False when the handler has to do it.
bool as_x87(ir::Op& op, const cpu::Form& form, RowKind row, const UnitMode& mode);

} // namespace calque::jit
