// What the differential runner (tests/diff) found in the vector instructions, each as the smallest case with its known
// answer, so that every host tests it.
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>

namespace calque::cpu::testing {
namespace {

class Simd : public ::testing::Test {
  protected:
    Machine m_{Machine::Kind::long64};
    CpuState& s_ = m_.state();

    void check_alignment() {
        s_.cr0 |= cr0_am;
        s_.rflags |= flag_ac;
        m_.cpu().update_mode();
    }
};

TEST_F(Simd, EmmsSetsTheStackTopToZero) {
    s_.x87.set_top(5);
    s_.x87.valid = 0xFF;
    EXPECT_FALSE(m_.step({0x0F, 0x77}));
    EXPECT_EQ(s_.x87.top(), 0u);
    EXPECT_EQ(s_.x87.valid, 0);
}

TEST_F(Simd, AConversionThatRaisesXmHasTurnedTheX87StateToMmx) {
    s_.mxcsr = 0x1F00; // Invalid is unmasked.
    s_.vector[0].q[0] = 0x7FC000007FC00000;
    s_.x87.set_top(3);
    const auto fault = m_.step({0x0F, 0x2D, 0xC8}); // CVTPS2PI MM1, XMM0
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::simd_floating_point);
    EXPECT_EQ(s_.x87.top(), 0u);
    EXPECT_EQ(s_.x87.valid, 0xFF);
    EXPECT_EQ(s_.x87.reg[1].significand, 0u);
}

TEST_F(Simd, MaskedByteStoreFaultsEvenIfNoByteIsSelected) {
    s_.gpr[rdi] = 0x1000;
    const auto fault = m_.step({0x66, 0x0F, 0xF7, 0xC1}); // MASKMOVDQU XMM0, XMM1
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::page_fault);
    EXPECT_EQ(fault->address, 0x1000u);
}

TEST_F(Simd, AFaultingGatherLeavesTheElementsThatAreNotDoneAsTheyWere) {
    m_.poke<u32>(data_base, 0x12345678);
    s_.gpr[rax] = data_base;
    s_.vector[1].q[0] = 0x4000000000000000; // Index 1 leads to nothing.
    for (u64& q : s_.vector[2].q)
        q = 0xFFFFFFD1FFFFFFD1;
    for (u64& q : s_.vector[0].q)
        q = 0xAAAAAAAAAAAAAAAA;
    const auto fault = m_.step({0xC4, 0xE2, 0x69, 0x90, 0x04, 0x08}); // VPGATHERDD XMM0, [RAX + XMM1], XMM2
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::page_fault);
    EXPECT_EQ(s_.vector[0].q[0], 0xAAAAAAAA12345678u);
    EXPECT_EQ(s_.vector[0].q[1], 0xAAAAAAAAAAAAAAAAu);
    EXPECT_EQ(s_.vector[0].q[2], 0xAAAAAAAAAAAAAAAAu);
    EXPECT_EQ(s_.vector[2].q[0], 0xFFFFFFD100000000u);
    EXPECT_EQ(s_.vector[2].q[3], 0xFFFFFFD1FFFFFFD1u);
}

TEST_F(Simd, ShaOperandsInMemoryNeedNoAlignment) {
    s_.gpr[rax] = data_base + 8;
    EXPECT_FALSE(m_.step({0x0F, 0x38, 0xC9, 0x00}));       // SHA1MSG1 XMM0, [RAX]
    EXPECT_FALSE(m_.step({0x0F, 0x38, 0xCC, 0x00}));       // SHA256MSG1
    EXPECT_FALSE(m_.step({0x0F, 0x3A, 0xCC, 0x00, 0x01})); // SHA1RNDS4
}

TEST_F(Simd, MmxUnpackLowReadsOnly32BitsOfMemory) {
    s_.gpr[rax] = arena_base + arena_size - 4;
    EXPECT_FALSE(m_.step({0x0F, 0x60, 0x00})); // PUNPCKLBW MM0, [RAX]
}

TEST_F(Simd, AlignmentChecksAskFor16BytesOf32AndNoneOfMaskedMoves) {
    check_alignment();
    s_.gpr[rax] = data_base + 16;
    EXPECT_FALSE(m_.step({0xC5, 0xFC, 0x58, 0x00})); // VADDPS YMM0, YMM0, [RAX]
    s_.gpr[rax] = data_base + 8;
    const auto fault = m_.step({0xC5, 0xFC, 0x58, 0x00});
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::alignment_check);
    s_.gpr[rax] = data_base + 1;
    s_.vector[0].q[0] = ~u64{0};
    EXPECT_FALSE(m_.step({0xC4, 0xE2, 0x79, 0x2D, 0x08})); // VMASKMOVPD XMM1, XMM0, [RAX]
}

TEST_F(Simd, DotProductReportsTheMultiplicationsBeforeTheAdditionsFault) {
    s_.mxcsr = 0x1E80; // Denormal is unmasked.
    s_.vector[0].q[0] = 0x20000000;
    s_.vector[1].q[0] = 0x144C6278;                                   // Their product is denormal, and not exact.
    const auto fault = m_.step({0x66, 0x0F, 0x3A, 0x40, 0xC1, 0x11}); // DPPS XMM0, XMM1, 11h
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->vector, Vector::simd_floating_point);
    EXPECT_EQ(s_.mxcsr, 0x1E80u | 0x32);
}

TEST_F(Simd, MovntiIsAStore) {
    s_.gpr[rax] = data_base;
    s_.gpr[rcx] = 0x1122334455667788;
    EXPECT_FALSE(m_.step({0x0F, 0xC3, 0x08}));
    EXPECT_EQ(m_.peek<u64>(data_base), 0x55667788u);
    EXPECT_FALSE(m_.step({0x48, 0x0F, 0xC3, 0x08}));
    EXPECT_EQ(m_.peek<u64>(data_base), 0x1122334455667788u);
}

} // namespace
} // namespace calque::cpu::testing
