// Arithmetic on F32 and F64 as SSE and AVX define it: NaN operands by SDM volume 1, table 4-7 (the first source if it
// is a NaN, else the second, quieted), tininess after rounding, DAZ and FTZ. Every function adds the exceptions it
// meets to `status.flags`; its result is the masked response, to be dropped when Status::commit_to_mxcsr finds an
// unmasked one.
#pragma once

#include "cpu/fp/formats.h"

namespace calque::cpu::fp {

F32 add(F32 a, F32 b, Status& status);
F64 add(F64 a, F64 b, Status& status);
F32 sub(F32 a, F32 b, Status& status);
F64 sub(F64 a, F64 b, Status& status);
F32 mul(F32 a, F32 b, Status& status);
F64 mul(F64 a, F64 b, Status& status);
F32 div(F32 a, F32 b, Status& status);
F64 div(F64 a, F64 b, Status& status);
F32 sqrt(F32 a, Status& status);
F64 sqrt(F64 a, Status& status);

// Which parts of a*b+c fma() negates. NaN operands are never negated.
enum class FmaSign : u8 {
    MulAdd = 0,    // a*b + c       VFMADD
    MulSub = 1,    // a*b - c       VFMSUB
    NegMulAdd = 2, // -(a*b) + c    VFNMADD
    NegMulSub = 3, // -(a*b) - c    VFNMSUB
};

// a*b+c with one rounding. The first NaN of a, b, c in this order is the result, so an instruction whose operands are
// 1, 2 and 3 passes 132: (1, 3, 2); 213: (2, 1, 3); 231: (2, 3, 1) (SDM volume 1, section 14.5.3 and table 14-17).
F32 fma(F32 a, F32 b, F32 c, FmaSign sign, Status& status);
F64 fma(F64 a, F64 b, F64 c, FmaSign sign, Status& status);

// MINPS and MAXPS: b when either is a NaN (invalid, even for a quiet one; b is not quieted) or both are zeros.
F32 min(F32 a, F32 b, Status& status);
F64 min(F64 a, F64 b, Status& status);
F32 max(F32 a, F32 b, Status& status);
F64 max(F64 a, F64 b, Status& status);

// UCOMISS: only signalling NaNs are invalid.
Relation compare_quiet(F32 a, F32 b, Status& status);
Relation compare_quiet(F64 a, F64 b, Status& status);
// COMISS: any NaN is invalid.
Relation compare_signaling(F32 a, F32 b, Status& status);
Relation compare_signaling(F64 a, F64 b, Status& status);

// CMPPS and VCMPPS with predicate 0..31 (SDM volume 2, CMPPD, table 3-1); the legacy forms have 0..7.
bool compare_predicate(F32 a, F32 b, unsigned predicate, Status& status);
bool compare_predicate(F64 a, F64 b, unsigned predicate, Status& status);

// ROUNDPS. `rounding` stands instead of status.rounding; with `suppress_precision` an inexact result is not reported.
F32 round_to_integral(F32 a, Rounding rounding, bool suppress_precision, Status& status);
F64 round_to_integral(F64 a, Rounding rounding, bool suppress_precision, Status& status);

} // namespace calque::cpu::fp
