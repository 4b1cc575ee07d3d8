// Translation with a memory of operations gives what it gives without.
#include "jit/translate/translate.h"

#include <gtest/gtest.h>
#include <random>

namespace calque::jit {
namespace {

constexpr std::size_t remembered = 1024;

class OpMemoryTest : public ::testing::TestWithParam<cpu::CodeSize> {
  protected:
    OpMemoryTest() {
        mode_.decode.code_size = GetParam();
        mode_.is.flat_segments = 0x3F;
        mode_.is.stack32 = 1;
    }

    // One instruction, at an address and with a tail that no two have in common.
    void expect_same(std::vector<u8> bytes) {
        while (bytes.size() < cpu::longest_instruction)
            bytes.push_back(static_cast<u8>(random_() % 8 == 0 ? 0 : random_()));
        const u64 address = random_() & 0x7FFF'FFF0;
        const ir::Unit known =
            translate(remembering_, bytes, address, PhysicalAddress(address), mode_, 1, {}, &memory_);
        const ir::Unit plain = translate(plain_, bytes, address, PhysicalAddress(address), mode_, 1);
        ASSERT_EQ(known.bytes, plain.bytes);
        ASSERT_EQ(known.ops.size(), plain.ops.size());
        for (std::size_t n = 0; n < plain.ops.size(); ++n) {
            const ir::Op &a = known.ops[n], &b = plain.ops[n];
            EXPECT_TRUE(static_cast<const ir::OpShape&>(a) == static_cast<const ir::OpShape&>(b));
            EXPECT_EQ(a.rip, b.rip);
            EXPECT_EQ(a.target, b.target);
            EXPECT_EQ(a.guest.handler, b.guest.handler);
            EXPECT_EQ(a.guest.immediate, b.guest.immediate);
            EXPECT_EQ(a.guest.displacement, b.guest.displacement);
            EXPECT_EQ(a.guest.row, b.guest.row);
        }
        if (HasFailure()) FAIL() << ::testing::PrintToString(bytes);
    }
    // Three times with other tails: the first is remembered.
    void expect_same_thrice(const std::vector<u8>& head) {
        for (unsigned n = 0; n < 3 && !HasFatalFailure(); ++n)
            expect_same(head);
    }

    const cpu::CpuModel model_;
    const cpu::Decoder plain_{model_}, remembering_{model_, remembered};
    OpMemory memory_{remembered};
    UnitMode mode_;
    std::mt19937 random_{1};
};

TEST_P(OpMemoryTest, EveryOpcodeAndOperand) {
    for (unsigned opcode = 0; opcode < 256 && !HasFatalFailure(); ++opcode)
        for (unsigned modrm = 0; modrm < 256 && !HasFatalFailure(); modrm += 5) {
            const u8 op = static_cast<u8>(opcode), operand = static_cast<u8>(modrm);
            expect_same_thrice({op, operand});
            expect_same_thrice({0x0F, op, operand});
            expect_same_thrice({0x48, op, operand});
            expect_same_thrice({0x66, op, operand});
            expect_same_thrice({0x66, 0x0F, op, operand});
            expect_same_thrice({0xC5, 0xF9, op, operand});
        }
}

// Which is known as another is: a shift by 0 keeps the flags.
TEST_P(OpMemoryTest, AShiftByNothingAfterOneBySomething) {
    for (const u8 count : {3, 0, 5, 32, 64, 31, 0})
        for (const u8 opcode : {0xC0, 0xC1}) {
            expect_same({opcode, 0xE0, count});
            expect_same({0x48, opcode, 0xE0, count});
            expect_same({0x0F, 0xA4, 0xC8, count});
        }
}

INSTANTIATE_TEST_SUITE_P(All, OpMemoryTest,
                         ::testing::Values(cpu::CodeSize::bits16, cpu::CodeSize::bits32, cpu::CodeSize::bits64));

// What may run depends on the mode: what was remembered for another does not count.
TEST(OpMemory, KeepsModesApart) {
    const cpu::Decoder decoder(cpu::CpuModel{}, remembered);
    OpMemory memory(remembered);
    const std::vector<u8> addps{0x0F, 0x58, 0xC1}; // ADDPS XMM0, XMM1
    UnitMode mode;
    const auto kind = [&] {
        return translate(decoder, addps, 0, PhysicalAddress(0), mode, 1, {}, &memory).ops.front().kind;
    };
    EXPECT_EQ(kind(), ir::OpKind::host);
    mode.is.sse_off = 1;
    EXPECT_EQ(kind(), ir::OpKind::interpret);
    mode.is.sse_off = 0;
    mode.is.float_traps = 1;
    EXPECT_EQ(kind(), ir::OpKind::interpret);
    mode.is.float_traps = 0;
    EXPECT_EQ(kind(), ir::OpKind::host);
}

} // namespace
} // namespace calque::jit
