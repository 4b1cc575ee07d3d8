// Loops that stay inside their unit: what they keep from round to round.
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u64 nothing_at = 0x200000; // From there on nothing is mapped.
constexpr u64 looked_at = flag_cf | flag_zf | flag_sf | flag_of;

class JitLoops : public ::testing::Test {
  protected:
    Board b{Board::Mode::long64};
};

TEST_F(JitLoops, AStreamGoesOnIntoTheNextPages) {
    u64 sum = 0;
    for (u64 n = 0; n < 0x600; ++n) {
        b.poke<u64>(data_at + 4 + n * 8, n * n);
        sum += n * n;
    }
    b.gpr(rbx) = data_at + 4, b.gpr(rcx) = 0x600, b.gpr(rax) = 0;
    // ADD RAX, [RBX]; ADD RBX, 8; SUB RCX, 1; JNZ; HLT
    b.program({0x48, 0x03, 0x03, 0x48, 0x83, 0xC3, 0x08, 0x48, 0x83, 0xE9, 0x01, 0x75, 0xF3, 0xF4});
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), sum);
    EXPECT_EQ(b.gpr(rbx), data_at + 4 + 0x3000);
}

TEST_F(JitLoops, AFaultInALaterRoundIsExact) {
    b.gpr(rbx) = nothing_at - 800, b.gpr(rcx) = 1000, b.gpr(rdx) = 1;
    // SUB RCX, 1; MOV [RBX], RDX; ADD RBX, 8; CMP RCX, 3; JNZ; HLT. There is no memory, but it can be written to.
    b.program(
        {0x48, 0x83, 0xE9, 0x01, 0x48, 0x89, 0x13, 0x48, 0x83, 0xC3, 0x08, 0x48, 0x83, 0xF9, 0x03, 0x75, 0xEF, 0xF4});
    EXPECT_EQ(b.run_to_handler(), pf);
    EXPECT_EQ(b.state().cr2, nothing_at);
    EXPECT_EQ(b.gpr(rbx), nothing_at);
    EXPECT_EQ(b.gpr(rcx), 899u);
    EXPECT_EQ(b.stacked64(1), code_at + 4);
    EXPECT_EQ(b.stacked64(3) & looked_at, 0u);
}

TEST_F(JitLoops, AFaultShowsTheFlagsOfTheRoundBefore) {
    b.gpr(rbx) = 0xFF000, b.gpr(rcx) = 5, b.gpr(rdx) = 0x10; // The last page of memory; then nothing is there,
    b.gpr(rsi) = nothing_at - 0xFF000 - 0x100;               // and nothing mapped 2 MiB on.
    // MOV RAX, [RBX+RSI]; ADD RBX, 8; CMP RCX, RBX; JB; HLT
    b.program({0x48, 0x8B, 0x04, 0x33, 0x48, 0x83, 0xC3, 0x08, 0x48, 0x39, 0xD9, 0x72, 0xF3, 0xF4});
    EXPECT_EQ(b.run_to_handler(), pf);
    EXPECT_EQ(b.gpr(rbx), 0xFF100u);
    EXPECT_EQ(b.stacked64(1), code_at);
    EXPECT_EQ(b.stacked64(3) & looked_at, flag_cf | flag_sf); // 5 less more.
}

TEST_F(JitLoops, ATableMayLieOnTwoPages) {
    for (const u64 table : {data_at + 0x400, data_at + 0xE00}) {
        u64 sum = 0;
        for (u32 n = 0; n < 256; ++n)
            b.poke<u32>(table + n * 4, n * 77 + 1);
        for (u32 n = 0; n < 64; ++n) {
            b.poke<u8>(data_at + 0x2000 + n, static_cast<u8>(n * 5));
            sum += (n * 5 % 256) * 77 + 1;
        }
        b.gpr(rsi) = table, b.gpr(rdi) = data_at + 0x2000, b.gpr(rcx) = 64, b.gpr(rax) = 0;
        // MOVZX EDX, BYTE [RDI]; ADD EAX, [RSI+RDX*4]; ADD RDI, 1; SUB ECX, 1; JNZ; HLT
        b.program({0x0F, 0xB6, 0x17, 0x03, 0x04, 0x96, 0x48, 0x83, 0xC7, 0x01, 0x83, 0xE9, 0x01, 0x75, 0xF1, 0xF4});
        EXPECT_EQ(b.run(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rax), sum);
    }
}

TEST_F(JitLoops, AStreamOfStoresReachesThePageOfItsCode) {
    b.gpr(13) = code_at - 64, b.gpr(rcx) = (64 + 16) / 2, b.gpr(rdx) = 0x9090;
    // 16 bytes of NOP; MOV [R13], DX; ADD R13, 2; SUB ECX, 1; JNZ to the MOV; HLT
    b.program({0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
               0x66, 0x41, 0x89, 0x55, 0x00, 0x49, 0x83, 0xC5, 0x02, 0x83, 0xE9, 0x01, 0x75, 0xF2, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(13), code_at + 16);
    EXPECT_EQ(b.peek<u16>(code_at - 64), 0x9090);
    EXPECT_EQ(b.peek<u16>(code_at + 14), 0x9090);
}

} // namespace
} // namespace calque::cpu::testing
