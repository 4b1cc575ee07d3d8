// Conversions between the formats and to and from integers, as SSE, AVX and F16C define them. A conversion to an
// integer that does not fit, or of a NaN, is invalid and gives the integer indefinite (the most negative value; SDM
// volume 1, table 4-1).
#pragma once

#include "cpu/fp/formats.h"

namespace calque::cpu::fp {

// CVTSS2SD, CVTSD2SS and their packed forms.
F64 to_f64(F32 a, Status& status);
F32 to_f32(F64 a, Status& status);

// VCVTPH2PS: never reports a denormal, and ignores status.daz.
F32 to_f32(F16 a, Status& status);
// VCVTPS2PH. `rounding` stands instead of status.rounding; status.ftz is ignored.
F16 to_f16(F32 a, Rounding rounding, Status& status);

// CVTxx2SI: rounded as status.rounding says. CVTTxx2SI: pass Rounding::TowardZero.
std::int32_t to_i32(F32 a, Rounding rounding, Status& status);
std::int32_t to_i32(F64 a, Rounding rounding, Status& status);
std::int64_t to_i64(F32 a, Rounding rounding, Status& status);
std::int64_t to_i64(F64 a, Rounding rounding, Status& status);

// CVTSI2xx; 32-bit integers are sign-extended by the caller.
F32 f32_from_int(std::int64_t value, Status& status);
F64 f64_from_int(std::int64_t value, Status& status);

} // namespace calque::cpu::fp
