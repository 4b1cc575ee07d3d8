// The translating engine: what runs translated, what leaves it, and what makes translations go.
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

#include <thread>

namespace calque::cpu::testing {
namespace {

class JitEngine : public ::testing::Test {
  protected:
    void SetUp() override {
        jit_ = dynamic_cast<jit::Engine*>(&b.engine());
        if (!jit_) GTEST_SKIP() << "by the interpreter";
    }
    const jit::CodeCacheCounters& cache() const { return jit_->cache_counters(); }
    // The program has been running: it counts in memory, which another thread may look at.
    void wait_until_it_runs() const {
        while (b.watch(data_at) < 1000)
            std::this_thread::yield();
    }

    Board b{Board::Mode::long64};
    jit::Engine* jit_ = nullptr;
};

TEST_F(JitEngine, ALoopStaysInside) {
    b.gpr(rcx) = 1'000'000;
    b.gpr(rax) = 0;
    b.program({0x48, 0x01, 0xC8, 0x48, 0xFF, 0xC9, 0x75, 0xF8, 0xF4}); // ADD RAX, RCX; DEC RCX; JNZ; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 500'000'500'000u);
    EXPECT_LT(jit_->counters().entries, 10u);
    EXPECT_EQ(jit_->counters().interpreted, 1u); // HLT.
}

// SHA256RNDS2's operand needs no alignment, whatever the manuals say: its handler comes back, and what shares its check
// must not take the range for found.
TEST_F(JitEngine, AHandlerThatAllowsAMisalignedOperandLeavesNoWindowUnfound) {
    b.state().cr4 |= 1u << 9; // OSFXSR.
    b.cpu().update_mode();
    b.gpr(rdx) = data_at;
    b.program({0x0F, 0x38, 0xCB, 0x4A, 0x21, 0x83, 0x02, 0x05, 0xF4}); // SHA256RNDS2 XMM1, [RDX+21h]; ADD [RDX], 5; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.watch(data_at), 5u);
}

TEST_F(JitEngine, AnEventFromAnotherThreadEndsALinkedLoop) {
    b.program({0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xEB, 0xF7}); // INC DWORD [8000h]; JMP -9
    std::thread other([this] {
        wait_until_it_runs();
        b.cpu().request(event_stop);
    });
    EXPECT_EQ(b.run(~u64{0}), ExitReason::stopped);
    other.join();
    b.cpu().withdraw(event_stop);
    EXPECT_TRUE(b.state().rip() == code_at || b.state().rip() == code_at + 7);
}

TEST_F(JitEngine, AnInterruptFromAnotherThreadIsTakenInALinkedLoop) {
    b.set_idt(0x55, gate(kernel_code, handlers_at + 0x55 * 16, 0xE, 0));
    write_rflags(b.state(), flag_one | flag_if);
    b.program({0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xEB, 0xF7}); // INC DWORD [8000h]; JMP -9
    b.platform.interrupt = 0x55;
    std::thread other([this] {
        wait_until_it_runs();
        b.cpu().request(event_interrupt);
    });
    EXPECT_EQ(b.run_to_handler(~u64{0}), 0x55);
    other.join();
    b.cpu().withdraw(event_interrupt);
}

// Each round looks at the events; but it need not end there, as it did, for what has to wait. Nor is it to be looked at
// again and again: GRUB, whose IF is clear all the time, went out of translated code at each backward jump.
TEST_F(JitEngine, AnInterruptThatWaitsForIFStopsNoLoopAndIsTakenOnceIFIsSet) {
    struct {
        std::initializer_list<u8> sets_if;
        u64 taken_at; // From there.
    } const ways[] = {
        {{0xFB, 0x90, 0x90, 0xF4}, 2},                         // STI; NOP; NOP; HLT: behind STI's shadow.
        {{0x68, 0x02, 0x02, 0x00, 0x00, 0x9D, 0x90, 0xF4}, 6}, // PUSH 202h; POPFQ; NOP; HLT
        {{0xFB, 0xEB, 0x00, 0xEB, 0xFE}, 3},                   // STI; JMP +0; JMP -2: the shadow's jump ends the unit.
    };
    b.set_idt(0x55, gate(kernel_code, handlers_at + 0x55 * 16, 0xE, 0));
    for (const auto& way : ways) {
        write_rflags(b.state(), flag_one);
        b.gpr(rcx) = 100'000;
        b.gpr(rsp) = kernel_stack;
        b.program({0x48, 0x01, 0xC8, 0x48, 0xFF, 0xC9, 0x75, 0xF8}); // ADD RAX, RCX; DEC RCX; JNZ
        b.bytes(code_at + 8, way.sets_if);
        b.platform.interrupt = 0x55;
        const jit::EngineCounters before = jit_->counters();
        b.cpu().request(event_interrupt);
        EXPECT_EQ(b.run_to_handler(~u64{0}), 0x55);
        EXPECT_EQ(b.cpu().events & event_interrupt_aside, 0u);
        b.cpu().withdraw_interrupt();
        EXPECT_EQ(b.gpr(rcx), 0u);
        EXPECT_EQ(b.stacked64(0), code_at + 8 + way.taken_at);
        EXPECT_LT(jit_->counters().entries - before.entries, 100u);
        EXPECT_LT(jit_->counters().resolved - before.resolved, 100u);
    }
}

// GRUB's decompressor saves and restores flags around each bit: 1.4 million times, by the handler, before there is a
// menu.
TEST_F(JitEngine, PopfOfOtherArithmeticFlagsStaysInTranslatedCode) {
    constexpr u64 rounds = 10'000;
    b.gpr(rcx) = rounds;
    b.gpr(rax) = b.gpr(rbx) = 0;
    b.program({0x9C, 0x80, 0x34, 0x24, 0xD5,         // again: PUSHFQ; XOR BYTE [RSP], D5h: SF, ZF, AF, PF, CF
               0x80, 0x74, 0x24, 0x01, 0x08, 0x9D,   // XOR BYTE [RSP + 1], 8: OF; POPFQ
               0x0F, 0x90, 0xC0, 0x48, 0x01, 0xC3,   // SETO AL; ADD RBX, RAX
               0x48, 0xFF, 0xC9, 0x75, 0xEB, 0xF4}); // DEC RCX; JNZ again; HLT
    const jit::EngineCounters before = jit_->counters();
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), rounds); // DEC leaves OF clear.
    EXPECT_LT(jit_->counters().interpreted - before.interpreted, 1000u);
}

TEST_F(JitEngine, AnInterruptThatIsWithdrawnWhileItWaitsForIFIsNotTaken) {
    b.set_idt(0x55, gate(kernel_code, handlers_at + 0x55 * 16, 0xE, 0));
    write_rflags(b.state(), flag_one);
    b.poke<u32>(data_at, 0);
    // INC DWORD [8000h]; CMP BYTE [8004h], 0; JZ -17: until another thread says so. STI; NOP; NOP; HLT
    b.poke<u8>(data_at + 4, 0);
    b.program({0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0x80, 0x3C, 0x25, 0x04,
               0x80, 0x00, 0x00, 0x00, 0x74, 0xEF, 0xFB, 0x90, 0x90, 0xF4});
    b.platform.interrupt = 0x55;
    std::thread other([this] {
        wait_until_it_runs();
        b.cpu().request(event_interrupt);
        while ((b.cpu().events & event_interrupt_aside) == 0)
            std::this_thread::yield();
        b.cpu().withdraw_interrupt();
        b.poke<u8>(data_at + 4, 1);
    });
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    other.join();
    EXPECT_EQ(b.state().rip(), code_at + 21);
}

TEST_F(JitEngine, LoopsByCallAndReturnOrByComputedJumpsAreInterruptedToo) {
    // Each with INC DWORD [8000h].
    const std::initializer_list<u8> programs[] = {
        // CALL +0; POP RAX; INC; JMP RBX
        {0xE8, 0x00, 0x00, 0x00, 0x00, 0x58, 0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xFF, 0xE3},
        // CALL +9; INC; JMP -14; RET
        {0xE8, 0x09, 0x00, 0x00, 0x00, 0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xEB, 0xF2, 0xC3},
        // INC; PUSH RBX; RET
        {0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0x53, 0xC3},
        // INC; JRCXZ +0; JMP -14
        {0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xE3, 0x00, 0xE9, 0xF2, 0xFF, 0xFF, 0xFF},
    };
    for (const auto& program : programs) {
        b.gpr(rbx) = code_at;
        b.gpr(rsp) = kernel_stack;
        b.poke<u32>(data_at, 0);
        b.program(program);
        std::thread other([this] {
            wait_until_it_runs();
            b.cpu().request(event_stop);
        });
        EXPECT_EQ(b.run(~u64{0}), ExitReason::stopped);
        other.join();
        b.cpu().withdraw(event_stop);
    }
}

TEST_F(JitEngine, StringInstructionsRunByTheirHandlers) {
    for (unsigned n = 0; n < 64; ++n)
        b.poke<u8>(data_at + n, static_cast<u8>(n));
    b.gpr(rsi) = data_at, b.gpr(rdi) = data_at + 0x100, b.gpr(rcx) = 64;
    b.program({0xF3, 0xA4, 0x48, 0xFF, 0xC0, 0xF4}); // REP MOVSB; INC RAX; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rcx), 0u);
    EXPECT_EQ(b.gpr(rdi), data_at + 0x140);
    EXPECT_EQ(b.peek<u8>(data_at + 0x100 + 63), 63u);
    EXPECT_GE(jit_->counters().interpreted, 1u);
}

TEST_F(JitEngine, AStringInstructionThatFaultsHalfWayHasCommittedWhatItDid) {
    b.gpr(rdi) = 0x200000 - 16; // Nothing is mapped from 2 MiB on.
    b.gpr(rcx) = 64, b.gpr(rax) = 0x77;
    b.program({0xF3, 0xAA, 0xF4}); // REP STOSB; HLT
    EXPECT_EQ(b.run_to_handler(), pf);
    EXPECT_EQ(b.gpr(rcx), 48u);
    EXPECT_EQ(b.gpr(rdi), 0x200000u);
    EXPECT_EQ(b.state().cr2, 0x200000u);
    EXPECT_EQ(b.stacked64(1), code_at);
}

TEST_F(JitEngine, DivisionByZeroFromMemoryTrapsAndRaises) {
    b.poke<u64>(data_at, 0);
    b.gpr(rax) = 10, b.gpr(rdx) = 0, b.gpr(rbx) = data_at;
    write_rflags(b.state(), flag_one | flag_cf | flag_zf);
    b.program({0x48, 0xF7, 0x33, 0xF4}); // DIV QWORD [RBX]; HLT
    EXPECT_EQ(b.run_to_handler(), de);
    EXPECT_EQ(b.stacked64(0), code_at);
    EXPECT_EQ(b.stacked64(2) & (flag_cf | flag_zf | flag_sf), flag_cf | flag_zf);
    EXPECT_EQ(b.gpr(rax), 10u);
}

TEST_F(JitEngine, QuotientsThatDoNotFitTrap) {
    b.gpr(rax) = 0, b.gpr(rdx) = 1, b.gpr(14) = 1;
    b.program({0x49, 0xF7, 0xF6, 0xF4}); // DIV R14; HLT
    EXPECT_EQ(b.run_to_handler(), de);
    b.gpr(rax) = u64{1} << 63, b.gpr(rdx) = ~u64{0}, b.gpr(14) = ~u64{0};
    b.program({0x49, 0xF7, 0xFE, 0xF4}); // IDIV R14; HLT
    EXPECT_EQ(b.run_to_handler(), de);
    EXPECT_EQ(b.gpr(14), ~u64{0});
}

TEST_F(JitEngine, AStoreIntoItsOwnUnitIsSeenByTheNextInstruction) {
    // MOV BYTE [RIP+0], 48h; INC EAX, with a REX prefix of 40h; HLT
    b.gpr(rax) = 0xFFFFFFFF;
    b.program({0xC6, 0x05, 0x00, 0x00, 0x00, 0x00, 0x48, 0x40, 0xFF, 0xC0, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 0x100000000u);
    EXPECT_GE(cache().killed, 1u);
}

TEST_F(JitEngine, AStoreIntoALinkedUnitIsSeen) {
    // Twice round: the second time the called code has become another.
    b.gpr(rbx) = 2, b.gpr(rax) = 0;
    b.program({
        0xE8, 0x0D, 0x00, 0x00, 0x00,             // CALL target
        0xC6, 0x05, 0x08, 0x00, 0x00, 0x00, 0x02, // MOV BYTE [target + 2], 2
        0xFF, 0xCB,                               // DEC EBX
        0x75, 0xF0,                               // JNZ
        0xF4, 0x90,                               // HLT
        0x83, 0xC0, 0x01,                         // target: ADD EAX, 1
        0xC3,                                     // RET
    });
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 3u);
}

TEST_F(JitEngine, AWriteByABusMasterIsSeen) {
    b.gpr(rax) = 0;
    b.program({0x83, 0xC0, 0x01, 0xF4}); // ADD EAX, 1; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    const u64 killed = cache().killed;
    const u8 two = 2;
    b.memory.dma_write(PhysicalAddress(code_at + 2), {&two, 1});
    b.state().rip() = code_at;
    b.state().activity = Activity::running;
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 3u);
    EXPECT_GT(cache().killed, killed);
}

TEST_F(JitEngine, AWriteByABusMasterBreaksALoopThatRuns) {
    b.gpr(rax) = 0;
    b.program({0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, 0xEB, 0xF7}); // INC DWORD [8000h]; JMP -9
    std::thread other([this] {
        wait_until_it_runs();
        const u8 halt = 0xF4;
        b.memory.dma_write(PhysicalAddress(code_at + 7), {&halt, 1});
    });
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    other.join();
    EXPECT_EQ(b.state().rip(), code_at + 8);
}

TEST_F(JitEngine, AFlushBetweenRunsTranslatesAnew) {
    b.program({0x48, 0xFF, 0xC0, 0xF4}); // INC RAX; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    const u64 units = cache().units;
    jit_->flush();
    b.program({0x48, 0xFF, 0xC0, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_GT(cache().units, units);
    EXPECT_GE(cache().flushes, 1u);
}

TEST_F(JitEngine, UnmaskingAnExceptionOfMxcsrMakesUnitsThatRaiseIt) {
    b.state().vector[0].q[0] = 0x3FF0000000000000; // 1.0
    b.state().vector[1].q[0] = 0;
    b.program({0xF2, 0x0F, 0x5E, 0xC1, 0xF4}); // DIVSD XMM0, XMM1; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().vector[0].q[0], 0x7FF0000000000000u);
    EXPECT_EQ(b.state().mxcsr, 0x1F84u);
    b.state().mxcsr = 0x1D80; // Division by zero is unmasked.
    b.state().vector[0].q[0] = 0x3FF0000000000000;
    b.state().cr4 |= cr4_osxmmexcpt;
    b.program({0xF2, 0x0F, 0x5E, 0xC1, 0xF4});
    EXPECT_EQ(b.run_to_handler(), 19);
    EXPECT_EQ(b.state().vector[0].q[0], 0x3FF0000000000000u);
}

TEST_F(JitEngine, TheHostsMxcsrIsItsOwnAgain) {
    b.state().mxcsr = 0x7F80;                  // Rounds toward zero.
    b.program({0xF2, 0x0F, 0x58, 0xC1, 0xF4}); // ADDSD XMM0, XMM1; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    volatile double one = 1.0, three = 3.0;
    EXPECT_EQ(one / three + one / three + one / three, 1.0);
    EXPECT_EQ(b.state().mxcsr & 0x7F80, 0x7F80u);
}

} // namespace
} // namespace calque::cpu::testing
