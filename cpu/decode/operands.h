// From Zydis's structures to the record and the form. Included in cpu/decode only.
#pragma once

#include "cpu/table.h"

#include <Zydis/Zydis.h>
#include <span>

namespace calque::cpu {

// Sizes, prefixes, encoding flags and the default segment.
void describe_instruction(const ZydisDecodedInstruction& in, Form& form, Instruction& out);
// Register numbers, the memory operand and immediates, of the visible operands.
void describe_operands(const ZydisDecodedInstruction& in, std::span<const ZydisDecodedOperand> operands, Form& form,
                       Instruction& out);

} // namespace calque::cpu
