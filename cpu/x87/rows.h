// The selectors of the x87 instructions, for the instruction table.
#pragma once

#include "cpu/table.h"

namespace calque::cpu::x87 {

#define CALQUE_X87_SELECTORS(X)                                                                                        \
    /* arithmetic.cpp */                                                                                               \
    X(fadd)                                                                                                            \
    X(fmul)                                                                                                            \
    X(fsub)                                                                                                            \
    X(fsubr)                                                                                                           \
    X(fdiv) X(fdivr) X(faddp) X(fmulp) X(fsubp) X(fsubrp) X(fdivp) X(fdivrp) X(fiadd) X(fimul) X(fisub) X(fisubr)      \
        X(fidiv) X(fidivr) /* compare.cpp */                                                                           \
        X(fcom) X(fcomp) X(fcompp) X(fucom) X(fucomp) X(fucompp) X(ficom) X(ficomp) X(fcomi) X(fcomip) X(fucomi)       \
            X(fucomip) X(ftst) X(fxam)                                                          /* load.cpp */         \
        X(fld) X(fild) X(fbld) X(fld1) X(fldl2t) X(fldl2e) X(fldpi) X(fldlg2) X(fldln2) X(fldz) /* store.cpp */        \
        X(fst) X(fstp) X(fstpnce) X(fist) X(fistp) X(fisttp) X(fbstp)                           /* registers.cpp */    \
        X(fxch) X(fcmovb) X(fcmove) X(fcmovbe) X(fcmovu) X(fcmovnb) X(fcmovne) X(fcmovnbe) X(fcmovnu) X(ffree)         \
            X(ffreep) X(fincstp) X(fdecstp) X(fabs) X(fchs) X(fnop) /* functions.cpp */                                \
        X(fsqrt) X(frndint) X(fscale) X(fxtract) X(fprem) X(fprem1) X(f2xm1) X(fyl2x) X(fyl2xp1) X(fpatan) X(fptan)    \
            X(fsin) X(fcos) X(fsincos)                                    /* control.cpp */                            \
        X(fninit) X(fnclex) X(fldcw) X(fnstcw) X(fnstsw) X(fwait) X(feni) /* environment.cpp */                        \
        X(fnstenv) X(fldenv) X(fnsave) X(frstor)                          /* fxsave.cpp */                             \
        X(fxsave) X(fxsave64) X(fxrstor) X(fxrstor64)

#define DECLARE(name) Handler name(const Form& form);
CALQUE_X87_SELECTORS(DECLARE)
#undef DECLARE

} // namespace calque::cpu::x87
