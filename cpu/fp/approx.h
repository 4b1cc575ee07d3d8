// RCPPS and RSQRTPS: approximations whose relative error is at most 1.5 * 2^-12 (SDM volume 2, RCPPS). They raise no
// exceptions and ignore MXCSR; denormal operands count as zeros and tiny results become zeros. The values are those of
// AMD Zen 4.
#pragma once

#include "cpu/fp/formats.h"

namespace calque::cpu::fp {

F32 reciprocal_approximation(F32 a);
F32 reciprocal_sqrt_approximation(F32 a);

} // namespace calque::cpu::fp
