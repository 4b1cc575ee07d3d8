// Selectors of the system instructions: what cpu/table/system.inc names, and the forms of MOV, PUSH, POP, JMP, CALL and
// RET that the integer rows hand over.
#pragma once

#include "cpu/table.h"

namespace calque::cpu {

// For the selectors of MOV, PUSH and POP when an operand is a segment, control or debug register.
Handler select_mov_segment(const Form& form);
Handler select_mov_control(const Form& form);
Handler select_mov_debug(const Form& form);
Handler select_push_segment(const Form& form);
Handler select_pop_segment(const Form& form);
// For JMP and CALL with a far pointer or a far memory operand (FF /3, FF /5), and for RET's opcodes CA and CB.
Handler select_jmp_far(const Form& form);
Handler select_call_far(const Form& form);
Handler select_ret_far(const Form& form);

// clang-format off
#define CALQUE_SYSTEM_SELECTORS(X)                                                                                     \
    X(lds) X(les) X(lss) X(lfs) X(lgs) X(sgdt) X(sidt) X(lgdt) X(lidt) X(sldt) X(str) X(lldt) X(ltr) X(lar) X(lsl)     \
    X(verr) X(verw) X(arpl) X(clts) X(smsw) X(lmsw) X(xgetbv) X(xsetbv) X(syscall) X(sysret) X(sysenter)               \
    X(sysexit) X(swapgs) X(rdfsbase) X(rdgsbase) X(wrfsbase) X(wrgsbase) X(int) X(int3) X(int1) X(into) X(iret)        \
    X(iretd) X(iretq) X(pushf) X(pushfd) X(pushfq) X(popf) X(popfd) X(popfq) X(cli) X(sti) X(clac) X(stac) X(in)       \
    X(out) X(hlt) X(monitor) X(mwait) X(rdmsr) X(wrmsr) X(cpuid) X(rdtsc) X(rdtscp) X(rdpmc) X(rdpid) X(rdpkru)        \
    X(wrpkru) X(rdrand) X(rdseed) X(invd) X(wbinvd) X(invlpg) X(invpcid) X(clflush) X(clflushopt) X(clwb) X(rsm)       \
    X(undefined)
// clang-format on

#define X(name) Handler select_##name(const Form& form);
CALQUE_SYSTEM_SELECTORS(X)
#undef X

} // namespace calque::cpu
