// The selectors of the x87 instructions, for the instruction table.
#pragma once

#include "cpu/table.h"

namespace calque::cpu::x87 {

// arithmetic.cpp, compare.cpp, load.cpp, store.cpp, registers.cpp, functions.cpp, control.cpp, environment.cpp,
// fxsave.cpp
Handler fadd(const Form&);
Handler fmul(const Form&);
Handler fsub(const Form&);
Handler fsubr(const Form&);
Handler fdiv(const Form&);
Handler fdivr(const Form&);
Handler faddp(const Form&);
Handler fmulp(const Form&);
Handler fsubp(const Form&);
Handler fsubrp(const Form&);
Handler fdivp(const Form&);
Handler fdivrp(const Form&);
Handler fiadd(const Form&);
Handler fimul(const Form&);
Handler fisub(const Form&);
Handler fisubr(const Form&);
Handler fidiv(const Form&);
Handler fidivr(const Form&);
Handler fcom(const Form&);
Handler fcomp(const Form&);
Handler fcompp(const Form&);
Handler fucom(const Form&);
Handler fucomp(const Form&);
Handler fucompp(const Form&);
Handler ficom(const Form&);
Handler ficomp(const Form&);
Handler fcomi(const Form&);
Handler fcomip(const Form&);
Handler fucomi(const Form&);
Handler fucomip(const Form&);
Handler ftst(const Form&);
Handler fxam(const Form&);
Handler fld(const Form&);
Handler fild(const Form&);
Handler fbld(const Form&);
Handler fld1(const Form&);
Handler fldl2t(const Form&);
Handler fldl2e(const Form&);
Handler fldpi(const Form&);
Handler fldlg2(const Form&);
Handler fldln2(const Form&);
Handler fldz(const Form&);
Handler fst(const Form&);
Handler fstp(const Form&);
Handler fstpnce(const Form&);
Handler fist(const Form&);
Handler fistp(const Form&);
Handler fisttp(const Form&);
Handler fbstp(const Form&);
Handler fxch(const Form&);
Handler fcmovb(const Form&);
Handler fcmove(const Form&);
Handler fcmovbe(const Form&);
Handler fcmovu(const Form&);
Handler fcmovnb(const Form&);
Handler fcmovne(const Form&);
Handler fcmovnbe(const Form&);
Handler fcmovnu(const Form&);
Handler ffree(const Form&);
Handler ffreep(const Form&);
Handler fincstp(const Form&);
Handler fdecstp(const Form&);
Handler fabs(const Form&);
Handler fchs(const Form&);
Handler fnop(const Form&);
Handler fsqrt(const Form&);
Handler frndint(const Form&);
Handler fscale(const Form&);
Handler fxtract(const Form&);
Handler fprem(const Form&);
Handler fprem1(const Form&);
Handler f2xm1(const Form&);
Handler fyl2x(const Form&);
Handler fyl2xp1(const Form&);
Handler fpatan(const Form&);
Handler fptan(const Form&);
Handler fsin(const Form&);
Handler fcos(const Form&);
Handler fsincos(const Form&);
Handler fninit(const Form&);
Handler fnclex(const Form&);
Handler fldcw(const Form&);
Handler fnstcw(const Form&);
Handler fnstsw(const Form&);
Handler fwait(const Form&);
Handler feni(const Form&);
Handler fnstenv(const Form&);
Handler fldenv(const Form&);
Handler fnsave(const Form&);
Handler frstor(const Form&);
Handler fxsave(const Form&);
Handler fxsave64(const Form&);
Handler fxrstor(const Form&);
Handler fxrstor64(const Form&);

} // namespace calque::cpu::x87
