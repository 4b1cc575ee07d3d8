// Names of the lane-wise integer operations. An X-macro, so that rows.h can declare them and each .cpp makes its own.
#pragma once

// X(operation): two sources, all widths the table names.
// clang-format off
#define CALQUE_SIMD_ARITHMETIC(X)                                                                                      \
    X(AddB) X(AddW) X(AddD) X(AddQ) X(SubB) X(SubW) X(SubD) X(SubQ) X(AddSB) X(AddSW) X(AddUB) X(AddUW) X(SubSB)       \
    X(SubSW) X(SubUB) X(SubUW) X(AvgB) X(AvgW) X(MinSB) X(MinSW) X(MinSD) X(MinUB) X(MinUW) X(MinUD) X(MaxSB)          \
    X(MaxSW) X(MaxSD) X(MaxUB) X(MaxUW) X(MaxUD) X(SignB) X(SignW) X(SignD)
// clang-format on
// clang-format off
#define CALQUE_SIMD_MULTIPLY(X)                                                                                        \
    X(MulLW) X(MulHW) X(MulHUW) X(MulLD) X(MulUDQ) X(MulDQ) X(MaddWD) X(MaddUBSW) X(MulHRSW) X(SadBW) X(MpsadBW)       \
    X(HaddW) X(HaddD) X(HaddSW) X(HsubW) X(HsubD) X(HsubSW)
// clang-format on
// clang-format off
#define CALQUE_SIMD_COMPARE(X)                                                                                         \
    X(CmpEqB) X(CmpEqW) X(CmpEqD) X(CmpEqQ) X(CmpGtB) X(CmpGtW) X(CmpGtD) X(CmpGtQ) X(And) X(AndN) X(Or) X(Xor)
// clang-format on
// clang-format off
#define CALQUE_SIMD_SHUFFLE(X)                                                                                         \
    X(UnpackLBW) X(UnpackLWD) X(UnpackLDQ) X(UnpackLQDQ) X(UnpackHBW) X(UnpackHWD) X(UnpackHDQ) X(UnpackHQDQ)          \
    X(PackSSWB) X(PackSSDW) X(PackUSWB) X(PackUSDW) X(ShufB) X(AlignR) X(BlendW) X(ShufPS) X(ShufPD) X(BlendD)         \
    X(BlendPD)
// clang-format on
// X(operation): one source and an immediate (or none).
// clang-format off
#define CALQUE_SIMD_UNARY(X)                                                                                           \
    X(AbsB) X(AbsW) X(AbsD) X(ShufD) X(ShufLW) X(ShufHW) X(ShufMW) X(PhMinPosUW) X(DupLowD) X(DupHighD) X(DupLowQ)
// clang-format on
// Shifts of all lanes by one count; of each lane by its own.
#define CALQUE_SIMD_SHIFT(X) X(SllW) X(SllD) X(SllQ) X(SrlW) X(SrlD) X(SrlQ) X(SraW) X(SraD)
#define CALQUE_SIMD_SHIFT_EACH(X) X(SllVD) X(SllVQ) X(SrlVD) X(SrlVQ) X(SraVD)
// Floating point, in all of PS, PD, SS and SD.
// clang-format off
#define CALQUE_SIMD_FLOAT(X)                                                                                           \
    X(FAdd) X(FSub) X(FMul) X(FDiv) X(FMin) X(FMax) X(FSqrt) X(FRound) X(FCompare3) X(FCompare5)
// clang-format on
// Cryptography, two sources of 128 bits.
// clang-format off
#define CALQUE_SIMD_CRYPTO(X)                                                                                          \
    X(AesEnc) X(AesEncLast) X(AesDec) X(AesDecLast) X(ClMul) X(Sha1Rnds4) X(Sha1NextE) X(Sha1Msg1) X(Sha1Msg2)         \
    X(Sha256Msg1) X(Sha256Msg2)
// clang-format on
