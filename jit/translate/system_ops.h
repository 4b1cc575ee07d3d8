// Instructions of the kernel, and strings: those that have operations of their own.
#pragma once

#include "jit/translate/row_class.h"
#include "jit/translate/translate.h"

namespace calque::jit {

// Each sets the kind of `op` and what goes with it; false when the handler has to do it. Memory operands are
// `addressable`: by the inlined check, Op::segment is set.
bool as_state_read(ir::Op& op, const cpu::Form& form, const UnitMode& mode); // MOV from a control or segment register.
bool as_base(ir::Op& op, const UnitMode& mode);                              // RDFSBASE and its kin.
bool as_bit_string(ir::Op& op, const cpu::Form& form, const UnitMode& mode, bool addressable);
bool as_repeated_string(ir::Op& op, const cpu::Form& form, const UnitMode& mode, bool addressable);
bool as_access(ir::Op& op, const UnitMode& mode, mmu::RightsMode wanted); // STAC and CLAC, whose effect is `wanted`.

} // namespace calque::jit
