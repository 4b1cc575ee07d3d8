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
