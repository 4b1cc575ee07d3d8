// The selectors of the vector instructions, for the instruction table.
#pragma once

#include "cpu/simd/operations.h"
#include "cpu/table.h"

namespace calque::cpu::simd {

#define DECLARE(op) struct op;
CALQUE_SIMD_ARITHMETIC(DECLARE)
CALQUE_SIMD_MULTIPLY(DECLARE)
CALQUE_SIMD_COMPARE(DECLARE)
CALQUE_SIMD_SHUFFLE(DECLARE)
CALQUE_SIMD_UNARY(DECLARE)
CALQUE_SIMD_SHIFT(DECLARE)
CALQUE_SIMD_SHIFT_EACH(DECLARE)
CALQUE_SIMD_FLOAT(DECLARE)
CALQUE_SIMD_CRYPTO(DECLARE)
struct AesImc;
struct AesKeygen;
struct FReciprocal;
struct FReciprocalSqrt;
struct SllDQ;
struct SrlDQ;
#undef DECLARE

template <class Op> Handler binary(const Form& form);
template <class Op> Handler unary(const Form& form);
template <class Op> Handler shift(const Form& form);
template <class Op> Handler shift_bytes(const Form& form);

// Floating point: packed single and double, scalar single and double.
template <class Op> Handler ps(const Form& form);
template <class Op> Handler pd(const Form& form);
template <class Op> Handler scalar_ss(const Form& form);
template <class Op> Handler scalar_sd(const Form& form);

// float_horizontal.cpp
Handler add_sub_ps(const Form&);
Handler add_sub_pd(const Form&);
Handler hadd_ps(const Form&);
Handler hadd_pd(const Form&);
Handler hsub_ps(const Form&);
Handler hsub_pd(const Form&);
Handler dot_ps(const Form&);
Handler dot_pd(const Form&);

// float_compare.cpp, convert.cpp, fma.cpp
Handler comiss(const Form&);
Handler comisd(const Form&);
Handler ucomiss(const Form&);
Handler ucomisd(const Form&);
Handler cvtdq2ps(const Form&);
Handler cvtdq2pd(const Form&);
Handler cvtps2dq(const Form&);
Handler cvttps2dq(const Form&);
Handler cvtpd2dq(const Form&);
Handler cvttpd2dq(const Form&);
Handler cvtps2pd(const Form&);
Handler cvtpd2ps(const Form&);
Handler cvtss2sd(const Form&);
Handler cvtsd2ss(const Form&);
Handler cvtsi2ss(const Form&);
Handler cvtsi2sd(const Form&);
Handler cvtss2si(const Form&);
Handler cvttss2si(const Form&);
Handler cvtsd2si(const Form&);
Handler cvttsd2si(const Form&);
Handler cvtpi2ps(const Form&);
Handler cvtpi2pd(const Form&);
Handler cvtps2pi(const Form&);
Handler cvttps2pi(const Form&);
Handler cvtpd2pi(const Form&);
Handler cvttpd2pi(const Form&);
Handler cvtph2ps(const Form&);
Handler cvtps2ph(const Form&);
Handler fmadd132ps(const Form&);
Handler fmadd132pd(const Form&);
Handler fmadd132ss(const Form&);
Handler fmadd132sd(const Form&);
Handler fmadd213ps(const Form&);
Handler fmadd213pd(const Form&);
Handler fmadd213ss(const Form&);
Handler fmadd213sd(const Form&);
Handler fmadd231ps(const Form&);
Handler fmadd231pd(const Form&);
Handler fmadd231ss(const Form&);
Handler fmadd231sd(const Form&);
Handler fmsub132ps(const Form&);
Handler fmsub132pd(const Form&);
Handler fmsub132ss(const Form&);
Handler fmsub132sd(const Form&);
Handler fmsub213ps(const Form&);
Handler fmsub213pd(const Form&);
Handler fmsub213ss(const Form&);
Handler fmsub213sd(const Form&);
Handler fmsub231ps(const Form&);
Handler fmsub231pd(const Form&);
Handler fmsub231ss(const Form&);
Handler fmsub231sd(const Form&);
Handler fnmadd132ps(const Form&);
Handler fnmadd132pd(const Form&);
Handler fnmadd132ss(const Form&);
Handler fnmadd132sd(const Form&);
Handler fnmadd213ps(const Form&);
Handler fnmadd213pd(const Form&);
Handler fnmadd213ss(const Form&);
Handler fnmadd213sd(const Form&);
Handler fnmadd231ps(const Form&);
Handler fnmadd231pd(const Form&);
Handler fnmadd231ss(const Form&);
Handler fnmadd231sd(const Form&);
Handler fnmsub132ps(const Form&);
Handler fnmsub132pd(const Form&);
Handler fnmsub132ss(const Form&);
Handler fnmsub132sd(const Form&);
Handler fnmsub213ps(const Form&);
Handler fnmsub213pd(const Form&);
Handler fnmsub213ss(const Form&);
Handler fnmsub213sd(const Form&);
Handler fnmsub231ps(const Form&);
Handler fnmsub231pd(const Form&);
Handler fnmsub231ss(const Form&);
Handler fnmsub231sd(const Form&);
Handler fmaddsub132ps(const Form&);
Handler fmaddsub132pd(const Form&);
Handler fmaddsub213ps(const Form&);
Handler fmaddsub213pd(const Form&);
Handler fmaddsub231ps(const Form&);
Handler fmaddsub231pd(const Form&);
Handler fmsubadd132ps(const Form&);
Handler fmsubadd132pd(const Form&);
Handler fmsubadd213ps(const Form&);
Handler fmsubadd213pd(const Form&);
Handler fmsubadd231ps(const Form&);
Handler fmsubadd231pd(const Form&);

// lanes.cpp, permute.cpp, masked.cpp
Handler pmovsxbw(const Form&);
Handler pmovsxbd(const Form&);
Handler pmovsxbq(const Form&);
Handler pmovsxwd(const Form&);
Handler pmovsxwq(const Form&);
Handler pmovsxdq(const Form&);
Handler pmovzxbw(const Form&);
Handler pmovzxbd(const Form&);
Handler pmovzxbq(const Form&);
Handler pmovzxwd(const Form&);
Handler pmovzxwq(const Form&);
Handler pmovzxdq(const Form&);
Handler pextrb(const Form&);
Handler pextrd(const Form&);
Handler pextrq(const Form&);
Handler pinsrb(const Form&);
Handler pinsrd(const Form&);
Handler pinsrq(const Form&);
Handler insertps(const Form&);
Handler pextrw(const Form&);
Handler pinsrw(const Form&);
Handler pblendvb(const Form&);
Handler blendvps(const Form&);
Handler blendvpd(const Form&);
Handler ptest(const Form&);
Handler testps(const Form&);
Handler testpd(const Form&);
Handler movddup(const Form&);
Handler ldmxcsr(const Form&);
Handler stmxcsr(const Form&);
Handler duplicate_low_256(const Form&);
Handler broadcast_b(const Form&);
Handler broadcast_w(const Form&);
Handler broadcast_d(const Form&);
Handler broadcast_q(const Form&);
Handler broadcast_128(const Form&);
Handler perm_2x128(const Form&);
Handler perm_q(const Form&);
Handler perm_d(const Form&);
Handler permil_ps(const Form&);
Handler permil_pd(const Form&);
Handler insert_128(const Form&);
Handler extract_128(const Form&);
Handler maskmov_d(const Form&);
Handler maskmov_q(const Form&);
Handler gather_dd(const Form&);
Handler gather_dq(const Form&);
Handler gather_qd(const Form&);
Handler gather_qq(const Form&);

// string_compare.cpp, crypto.cpp
Handler pcmpestri(const Form&);
Handler pcmpestrm(const Form&);
Handler pcmpistri(const Form&);
Handler pcmpistrm(const Form&);
Handler sha256rnds2(const Form&);

// xsave.cpp
Handler xsave(const Form&);
Handler xsaveopt(const Form&);
Handler xsavec(const Form&);
Handler xrstor(const Form&);

// moves.cpp
Handler move_aligned(const Form&);   // MOVAPS, MOVAPD, MOVDQA, MOVNTPS, MOVNTDQ, MOVNTDQA...
Handler move_unaligned(const Form&); // MOVUPS, MOVUPD, MOVDQU, LDDQU
Handler move_ss(const Form&);
Handler move_sd(const Form&);
Handler move_low_half(const Form&);  // MOVLPS, MOVLPD
Handler move_high_half(const Form&); // MOVHPS, MOVHPD
Handler move_high_to_low(const Form&);
Handler move_low_to_high(const Form&);
Handler move_d(const Form&);
Handler move_q(const Form&);
Handler move_nt_q(const Form&);
Handler move_q2dq(const Form&);
Handler move_dq2q(const Form&);
Handler mask_b(const Form&); // PMOVMSKB
Handler mask_ps(const Form&);
Handler mask_pd(const Form&);
Handler zero_all(const Form&);
Handler zero_upper(const Form&);
Handler emms(const Form&);
Handler mask_move(const Form&);

} // namespace calque::cpu::simd
