// Which rows of the instruction table the runner compares, and how exactly.
#pragma once

#include "cpu/table.h"

#include <string_view>

namespace calque::diff {

// By the table file that has the row.
enum class Group : u8 { integer, string, control, system, x87, mmx, sse, avx, crypto };
Group group_of(u16 row);

// Groups whose instructions neither read nor write vector or x87 state.
inline bool scalar_only(Group g) { return g == Group::integer || g == Group::string || g == Group::control; }

// Why a row is left out, or empty when it is compared.
std::string_view left_out(u16 row);
// Why this form of a compared row is left out, or empty.
std::string_view form_left_out(const cpu::Instruction& i, const cpu::Form& form);

// Instructions with two memory operands, of which silicon looks first at the one or the other (by REP, direction,
// distance and alignment): when both sides fault, which fault it is is not compared.
bool faults_in_either_order(std::string_view name);

// Whether the guest's CPU is not to have an instruction that the host has (its mnemonic, in lower case; "(bad)" and its
// bytes where the disassembler knows none).
bool not_offered(std::string_view mnemonic);

// How far an x87 result may be from the host's, in units in the last place: 0 but for the transcendental instructions,
// which silicon does not round correctly (SDM volume 1, 8.3.10; AMD promises less than 1 ulp).
unsigned x87_tolerance(u16 row);

} // namespace calque::diff
