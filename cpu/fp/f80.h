// Arithmetic on the x87 register format: SDM volume 1, chapter 8. Each function stands for one instruction and wants a
// fresh Status made from the control word. It adds the instruction's exceptions to `status.flags`, sets
// `status.rounded_up` (C1), and its result is to be delivered as Status::writes_register and Status::writes_memory say.
// Encodings that the 387 and later do not support (SDM table 8-3) are invalid operands.
#pragma once

#include "cpu/fp/formats.h"

namespace calque::cpu::fp {

enum class F80Class : u8 { Unsupported, Nan, Normal, Infinity, Zero, Denormal };
F80Class classify(F80 a); // pseudo-denormals count as denormals

F80 add(F80 a, F80 b, Status& status);
F80 sub(F80 a, F80 b, Status& status);
F80 mul(F80 a, F80 b, Status& status);
F80 div(F80 a, F80 b, Status& status);
F80 sqrt(F80 a, Status& status);

Relation compare_quiet(F80 a, F80 b,
                       Status& status); // FUCOM: only signalling NaNs and unsupported encodings are invalid
Relation compare_signaling(F80 a, F80 b, Status& status); // FCOM: any NaN is invalid

F80 round_to_integral(F80 a, Status& status); // FRNDINT
F80 scale(F80 a, F80 b, Status& status);      // FSCALE: a * 2^trunc(b)

// FXTRACT.
struct Extracted {
    F80 exponent;
    F80 significand;
};
Extracted extract(F80 a, Status& status);

// FPREM (quotient truncated) and FPREM1 (quotient rounded to nearest). When the exponents differ by 64 or more only
// part of the division is done: `complete` is false (C2 set) and `quotient` is 0.
struct Remainder {
    F80 value;
    unsigned quotient; // its low three bits
    bool complete;
};
Remainder remainder_truncated(F80 a, F80 b, Status& status);
Remainder remainder_nearest(F80 a, F80 b, Status& status);

// FLD m32 and m64. A denormal is loaded even when that exception is unmasked; a signalling NaN is not.
F80 to_f80(F32 a, Status& status);
F80 to_f80(F64 a, Status& status);
// The memory operand of FADD m32 and its like: a signalling NaN stays one, and a denormal is noted in
// status.denormal_source for the operation that follows.
F80 widen_operand(F32 a, Status& status);
F80 widen_operand(F64 a, Status& status);
// FST m32 and m64.
F32 to_f32(F80 a, Status& status);
F64 to_f64(F80 a, Status& status);

// FIST and FISTTP (which passes Rounding::TowardZero).
std::int16_t to_i16(F80 a, Rounding rounding, Status& status);
std::int32_t to_i32(F80 a, Rounding rounding, Status& status);
std::int64_t to_i64(F80 a, Rounding rounding, Status& status);
F80 f80_from_int(std::int64_t value); // FILD: always exact

// FBLD and FBSTP. Bytes 0..8 hold 18 decimal digits, bit 7 of byte 9 the sign (SDM volume 1, figure 4-9).
struct PackedBcd {
    u8 bytes[10];
};
F80 f80_from_bcd(const PackedBcd& bcd);
PackedBcd to_bcd(F80 a, Status& status);

} // namespace calque::cpu::fp
