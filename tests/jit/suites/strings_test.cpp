// REP SCAS, REP CMPS and VGATHER in translated code.
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u64 nothing_at = 0x200000; // From there on nothing is mapped, and from 1 MiB on there is no memory.
constexpr u64 looked_at = flag_cf | flag_zf | flag_sf | flag_of;

class JitStrings : public ::testing::Test {
  protected:
    void SetUp() override {
        jit_ = dynamic_cast<jit::Engine*>(&b.engine());
        for (u64 n = 0; n < 0x3000; ++n)
            b.poke<u8>(data_at + n, 'a');
    }
    // But for the HLT at the end nothing was done by a handler.
    bool translated() const { return !jit_ || jit_->counters().interpreted == 1; }

    Board b{Board::Mode::long64};
    jit::Engine* jit_ = nullptr;
};

// The host's REP MOVS takes two addresses of one page for two pages.
TEST_F(JitStrings, ACopyThatSeesItsOwnWritesThroughAnAliasOfItsPage) {
    std::vector<mmu::Region> regions = b.memory.regions();
    mmu::Region alias = regions[0]; // All of RAM a second time, from 1 MiB on.
    alias.base = PhysicalAddress(0x100000);
    regions.push_back(alias);
    b.memory.set_regions(regions);
    for (const u64 size : {1, 2, 4, 8})
        for (const u64 ahead : {1, 8, 63, 64, 255, 256})
            for (int round = 0; round < 4; ++round) {
                std::array<u8, 1024> wanted;
                for (u64 n = 0; n < wanted.size(); ++n)
                    b.poke<u8>(data_at + n, wanted[n] = static_cast<u8>(n * 7 + size));
                const u64 count = 512 / size;
                for (u64 n = 0; n < count; ++n) {
                    std::array<u8, 8> element;
                    std::copy_n(&wanted[n * size], size, element.begin());
                    std::copy_n(element.begin(), size, &wanted[n * size + ahead]);
                }
                b.gpr(rsi) = data_at, b.gpr(rdi) = 0x100000 + data_at + ahead, b.gpr(rcx) = count;
                if (size == 2)
                    b.program({0xF3, 0x66, 0xA5, 0xF4});
                else if (size == 8)
                    b.program({0xF3, 0x48, 0xA5, 0xF4});
                else
                    b.program({0xF3, static_cast<u8>(size == 1 ? 0xA4 : 0xA5), 0xF4});
                ASSERT_EQ(b.run(), ExitReason::halted);
                for (u64 n = 0; n < wanted.size(); ++n)
                    ASSERT_EQ(b.peek<u8>(data_at + n), wanted[n]) << size << " bytes, " << ahead << " ahead, at " << n;
            }
}

TEST_F(JitStrings, AScanFindsItsByteTwoPagesOn) {
    b.poke<u8>(data_at + 0x2345, 'z');
    b.gpr(rdi) = data_at + 5, b.gpr(rcx) = 0x10000, b.gpr(rax) = 'z';
    b.program({0xF2, 0xAE, 0xF4}); // REPNE SCASB; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rdi), data_at + 0x2346);
    EXPECT_EQ(b.gpr(rcx), 0x10000u - 0x2341);
    EXPECT_EQ(b.cpu().rflags() & looked_at, flag_zf);
    EXPECT_TRUE(translated());
}

TEST_F(JitStrings, AScanForWhatDiffersStopsBehindIt) {
    for (u64 n = 0; n < 0x1800; n += 4)
        b.poke<u32>(data_at + n, 0x12345678);
    b.poke<u32>(data_at + 0x1100, 0x12345679);
    b.gpr(rdi) = data_at + 0x20, b.gpr(rcx) = 0x600, b.gpr(rax) = 0x12345678;
    b.program({0xF3, 0xAF, 0xF4}); // REPE SCASD; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rdi), data_at + 0x1104);
    EXPECT_EQ(b.gpr(rcx), 0x600u - (0x1104 - 0x20) / 4);
    EXPECT_EQ(b.cpu().rflags() & looked_at, flag_cf | flag_sf);
    EXPECT_TRUE(translated());
}

TEST_F(JitStrings, AScanOfNothingKeepsTheFlags) {
    for (const u64 flags : {looked_at, u64{0}}) {
        b.gpr(rdi) = nothing_at, b.gpr(rcx) = 0;
        write_rflags(b.state(), flag_one | flags);
        b.program({0xF2, 0xAE, 0xF3, 0xA6, 0xF4}); // REPNE SCASB; REPE CMPSB; HLT
        EXPECT_EQ(b.run(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rdi), nothing_at);
        EXPECT_EQ(b.cpu().rflags() & looked_at, flags);
    }
}

TEST_F(JitStrings, AScanThatFaultsHalfWayShowsWhatItDid) {
    b.gpr(rdi) = nothing_at - 64, b.gpr(rcx) = 100, b.gpr(rax) = 0;
    b.program({0xF3, 0xAF, 0xF4}); // REPE SCASD; HLT; there is no memory, which reads as ones
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rcx), 99u);
    b.gpr(rdi) = nothing_at - 64, b.gpr(rcx) = 100, b.gpr(rax) = 0;
    b.program({0xF2, 0xAF, 0xF4}); // REPNE SCASD; HLT
    EXPECT_EQ(b.run_to_handler(), pf);
    EXPECT_EQ(b.gpr(rcx), 100u - 16);
    EXPECT_EQ(b.gpr(rdi), nothing_at);
    EXPECT_EQ(b.state().cr2, nothing_at);
    EXPECT_EQ(b.stacked64(1), code_at);
    EXPECT_EQ(b.stacked64(3) & looked_at, flag_cf); // 0 less ones.
}

TEST_F(JitStrings, AScanGoesDownByItsHandler) {
    b.poke<u8>(data_at + 0x10, 'z');
    b.gpr(rdi) = data_at + 0x20, b.gpr(rcx) = 100, b.gpr(rax) = 'z';
    b.program({0xFD, 0xF2, 0xAE, 0xFC, 0xF4}); // STD; REPNE SCASB; CLD; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rdi), data_at + 0xF);
    EXPECT_EQ(b.gpr(rcx), 100u - 0x11);
}

TEST_F(JitStrings, AComparisonClipsToThePagesOfBothSides) {
    b.poke<u8>(data_at + 0x1F00, 'b');
    b.gpr(rsi) = data_at + 3, b.gpr(rdi) = data_at + 0x703, b.gpr(rcx) = 0x2000, b.gpr(rdx) = 77;
    b.program({0xF3, 0xA6, 0xF4}); // REPE CMPSB; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rdi), data_at + 0x1F01);
    EXPECT_EQ(b.gpr(rsi), data_at + 0x1801);
    EXPECT_EQ(b.gpr(rcx), 0x2000u - 0x17FE);
    EXPECT_EQ(b.gpr(rdx), 77u);
    EXPECT_EQ(b.cpu().rflags() & looked_at, flag_cf | flag_sf); // 'a' less 'b'.
    EXPECT_TRUE(translated());
}

TEST_F(JitStrings, AComparisonEndsWithItsCount) {
    b.gpr(rsi) = data_at, b.gpr(rdi) = data_at + 0x1000, b.gpr(rcx) = 0x40, b.gpr(rax) = 1;
    b.program({0xF3, 0x48, 0xA7, 0x0F, 0x94, 0xC0, 0xF4}); // REPE CMPSQ; SETZ AL; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rsi), data_at + 0x200);
    EXPECT_EQ(b.gpr(rcx), 0u);
    EXPECT_EQ(b.gpr(rax), 1u);
}

class JitGather : public JitStrings {
  protected:
    void SetUp() override {
        JitStrings::SetUp();
        b.state().cr4 |= cr4_osfxsr | cr4_osxsave;
        b.state().xcr0 = 7;
        b.cpu().update_mode();
        for (u32 n = 0; n < 0x800; ++n)
            b.poke<u32>(data_at + n * 4, n);
        set(dest, {0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107});
        set(mask, {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u});
    }
    void set(unsigned reg, std::array<u32, 8> v) { std::memcpy(b.state().vector[reg].q, v.data(), 32); }
    std::array<u32, 8> get(unsigned reg) {
        std::array<u32, 8> v;
        std::memcpy(v.data(), b.state().vector[reg].q, 32);
        return v;
    }
    static constexpr unsigned dest = 1, index = 2, mask = 3;
};

TEST_F(JitGather, EightElementsFromTwoPagesThroughAMask) {
    set(index, {0, 1, 0x7FF, 5, 0x3FF, 0x400, 7, 9});
    set(mask, {~0u, 0x7FFFFFFF, 0x80000000, 0, ~0u, ~0u, ~0u, ~0u});
    b.gpr(13) = data_at;
    b.program({0xC4, 0xC2, 0x65, 0x90, 0x4C, 0x95, 0x00, 0xF4}); // VPGATHERDD ymm1, [r13 + ymm2 * 4], ymm3; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(get(dest), (std::array<u32, 8>{0, 0x101, 0x7FF, 0x103, 0x3FF, 0x400, 7, 9}));
    EXPECT_EQ(get(mask), (std::array<u32, 8>{}));
    EXPECT_TRUE(translated());
}

TEST_F(JitGather, FourElementsOfAShortOneClearTheRest) {
    set(index, {1, 2, 3, 4, 5, 6, 7, 8});
    b.gpr(rbx) = data_at;
    b.program({0xC4, 0xE2, 0x61, 0x92, 0x0C, 0x93, 0xF4}); // VGATHERDPS xmm1, [rbx + xmm2 * 4], xmm3; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(get(dest), (std::array<u32, 8>{1, 2, 3, 4}));
    EXPECT_EQ(get(mask), (std::array<u32, 8>{}));
}

TEST_F(JitGather, WideIndexesOfNarrowElements) {
    set(index, {4, 0, 8, 0, ~0u - 3, ~0u, 16, 0}); // 4, 8, -4, 16
    b.gpr(rbx) = data_at + 16;
    b.program({0xC4, 0xE2, 0x65, 0x91, 0x0C, 0x13, 0xF4}); // VPGATHERQD xmm1, [rbx + ymm2], xmm3; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(get(dest), (std::array<u32, 8>{5, 6, 3, 8}));
    b.poke<u64>(data_at, 0x1122334455667788);
    set(index, {0, 0, 0, 0, 0, 0, 0, 0});
    set(mask, {0, ~0u, 0, 0, 0, ~0u, 0, 0});
    b.gpr(rbx) = data_at;
    b.program({0xC4, 0xE2, 0xE5, 0x92, 0x0C, 0x13, 0xF4}); // VGATHERDPD ymm1, [rbx + xmm2], ymm3; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(get(dest), (std::array<u32, 8>{0x55667788, 0x11223344, 3, 8, 0x55667788, 0x11223344, 0, 0}));
}

TEST_F(JitGather, AFaultHalfWayLeavesTheElementsBeforeItDone) {
    set(index, {1, 2, (nothing_at - data_at) / 4, 4, 5, 6, 7, 8});
    b.gpr(rbx) = data_at;
    b.program({0xC4, 0xE2, 0x65, 0x90, 0x0C, 0x93, 0xF4}); // VPGATHERDD ymm1, [rbx + ymm2 * 4], ymm3; HLT
    EXPECT_EQ(b.run_to_handler(), pf);
    EXPECT_EQ(b.state().cr2, nothing_at);
    EXPECT_EQ(get(dest), (std::array<u32, 8>{1, 2, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107}));
    EXPECT_EQ(get(mask), (std::array<u32, 8>{0, 0, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u}));
}

} // namespace
} // namespace calque::cpu::testing
