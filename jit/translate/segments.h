// Segment registers, strings and the flags in AH: what has no operand that the re-encoder knows.
#pragma once

#include "jit/translate/row_class.h"
#include "jit/translate/translate.h"

namespace calque::jit {

// What translated code may take a segment for: its number, or `flat` where it has neither base nor limit.
u8 segment_in(const UnitMode& mode, unsigned segment);

// MOV, PUSH and POP of a segment register; LES and its kin. False when the handler has to do it.
bool as_segment_move(ir::Op& op, const cpu::Form& form, RowKind row, const UnitMode& mode);
// LODS, STOS and MOVS without REP.
bool as_string(ir::Op& op, const cpu::Form& form, RowKind row, const UnitMode& mode);
// PUSHA, POPA.
bool as_all_registers(ir::Op& op, RowKind row);

} // namespace calque::jit
