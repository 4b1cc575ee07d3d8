// Selectors of the integer instructions: what cpu/table/{integer,string,control}.inc name.
#pragma once

#include "cpu/table.h"

namespace calque::cpu {

// Condition codes as Zydis spells them, by encoding.
// clang-format off
#define CALQUE_CONDITIONS(X)                                                                                           \
    X(o, 0) X(no, 1) X(b, 2) X(nb, 3) X(z, 4) X(nz, 5) X(be, 6) X(nbe, 7) X(s, 8) X(ns, 9) X(p, 10) X(np, 11)          \
    X(l, 12) X(nl, 13) X(le, 14) X(nle, 15)
// clang-format on

// clang-format off
#define CALQUE_INTEGER_SELECTORS(X)                                                                                    \
    X(add) X(adc) X(sub) X(sbb) X(and) X(or) X(xor) X(cmp) X(test) X(inc) X(dec) X(neg) X(not) X(adcx) X(adox)         \
    X(mov) X(movzx) X(movsx) X(movsxd) X(movbe) X(bswap) X(lea) X(xlat) X(cbw) X(cwde) X(cdqe) X(cwd) X(cdq)           \
    X(cqo) X(shl) X(shr) X(sar) X(rol) X(ror) X(rcl) X(rcr) X(shld) X(shrd) X(mul) X(imul) X(mulx) X(div) X(idiv)      \
    X(bt) X(bts) X(btr) X(btc) X(bsf) X(bsr) X(lzcnt) X(tzcnt) X(popcnt) X(crc32) X(andn) X(bextr) X(bzhi) X(blsi)     \
    X(blsr) X(blsmsk) X(pdep) X(pext) X(rorx) X(shlx) X(shrx) X(sarx) X(xchg) X(xadd) X(cmpxchg) X(cmpxchg8b)          \
    X(cmpxchg16b) X(push) X(pop) X(pusha) X(popa) X(enter) X(leave) X(jmp) X(call) X(ret) X(loop) X(loope)             \
    X(loopne) X(jrcxz) X(nop) X(prefetch) X(fence) X(lahf) X(sahf) X(cmc) X(stc) X(clc) X(std) X(cld) X(salc)          \
    X(bound) X(aaa) X(aas) X(aam) X(aad) X(daa) X(das) X(movs) X(stos) X(lods) X(cmps) X(scas) X(ins) X(outs)
// clang-format on

#define X(name) Handler select_##name(const Form& form);
CALQUE_INTEGER_SELECTORS(X)
#undef X
#define X(name, number)                                                                                                \
    Handler select_j##name(const Form& form);                                                                          \
    Handler select_cmov##name(const Form& form);                                                                       \
    Handler select_set##name(const Form& form);
CALQUE_CONDITIONS(X)
#undef X

} // namespace calque::cpu
