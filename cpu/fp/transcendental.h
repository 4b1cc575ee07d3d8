// The x87's transcendental instructions and constants: SDM volume 1, sections 8.3.5, 8.3.7 and 8.3.9. Results are
// correctly rounded to 64 bits (precision control does not apply), except that the trigonometric functions, like the
// hardware, take pi as 66 bits. Results on silicon may differ by one unit in the last place. The contract is that of
// f80.h.
#pragma once

#include "cpu/fp/formats.h"

namespace calque::cpu::fp {

// FSIN, FCOS, FPTAN, FSINCOS: when |a| >= 2^63 nothing is computed and `complete` is false (C2 set).
struct Trigonometric {
    F80 value;
    bool complete;
};
Trigonometric sine(F80 a, Status& status);
Trigonometric cosine(F80 a, Status& status);
Trigonometric tangent(F80 a, Status& status);

struct SineCosine {
    F80 sine;
    F80 cosine;
    bool complete;
};
SineCosine sine_cosine(F80 a, Status& status);

F80 arctangent(F80 y, F80 x, Status& status); // FPATAN: y is ST1, x is ST0

F80 exp2_minus_1(F80 a, Status& status);           // F2XM1
F80 y_log2_x(F80 y, F80 x, Status& status);        // FYL2X: y is ST1, x is ST0
F80 y_log2_x_plus_1(F80 y, F80 x, Status& status); // FYL2XP1

// FLD1 to FLDZ, in the order of their opcodes D9 E8 to D9 EE.
enum class Constant : u8 { One, Log2Of10, Log2OfE, Pi, Log10Of2, LnOf2, Zero };
F80 constant(Constant which, Rounding rounding);

} // namespace calque::cpu::fp
