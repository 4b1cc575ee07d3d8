// Breakpoints, single-step, the shadows, RF (SDM volume 3, chapter 17).
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u64 bs = 1u << 14, bd = 1u << 13;
// DR7: breakpoint n of a kind (0 execution, 1 write, 2 I/O, 3 access) and length code.
constexpr u64 enable(unsigned n, u64 kind, u64 length) {
    return u64{2} << (n * 2) | (kind | length << 2) << (16 + n * 4);
}
void set_breakpoint(Board& b, unsigned n, u64 address, u64 kind, u64 length = 0) {
    b.state().dr[n] = address;
    b.state().dr[7] |= enable(n, kind, length);
    b.cpu().update_slow_flag();
}

TEST(SystemDebug, InstructionBreakpointIsAFaultAndRfPassesIt) {
    Board b(Board::Mode::long64);
    set_breakpoint(b, 1, code_at + 1, 0);
    b.program({0x90, 0x90, 0xF4});
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked64(0), code_at + 1);
    EXPECT_EQ(b.state().dr[6] & 0xF, 2u);
    EXPECT_FALSE(b.stacked64(2) & flag_rf); // Pushed as it was.
    // The handler sets RF in the frame and returns: the instruction runs.
    b.poke<u64>(b.gpr(rsp) + 16, b.stacked64(2) | flag_rf);
    b.program({0x48, 0xCF}, second_code_at);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), code_at + 3);
    EXPECT_FALSE(b.state().rflags & flag_rf); // It lasted for one instruction.
}

TEST(SystemDebug, FaultPushesRfSoThatTheInstructionIsNotStoppedTwice) {
    Board b(Board::Mode::protected32);
    b.program({0x0F, 0x0B});
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_TRUE(b.stacked32(2) & flag_rf);
}

TEST(SystemDebug, DataBreakpointsAreTraps) {
    Board b(Board::Mode::long64);
    set_breakpoint(b, 0, data_at + 4, 1, 3);       // Four bytes, writes.
    b.program({0x8A, 0x04, 0x25, 0x04, 0x80, 0, 0, // MOV AL, [8004h]: a read
               0x88, 0x04, 0x25, 0x08, 0x80, 0, 0, // MOV [8008h], AL: beside it
               0x88, 0x04, 0x25, 0x07, 0x80, 0, 0, // MOV [8007h], AL
               0xF4});
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked64(0), code_at + 21);
    EXPECT_EQ(b.state().dr[6] & 0xF, 1u);

    Board access(Board::Mode::protected32);
    set_breakpoint(access, 3, data_at, 3, 0);
    access.program({0xA0, 0x00, 0x80, 0, 0, 0x90});
    EXPECT_EQ(access.run_to_handler(), db);
    EXPECT_EQ(access.stacked32(0), code_at + 5);
    EXPECT_EQ(access.state().dr[6] & 0xF, 8u);
}

TEST(SystemDebug, WideAccessHitsABreakpointWithinIt) {
    Board b(Board::Mode::long64);
    set_breakpoint(b, 0, data_at + 7, 1, 0);
    b.program({0x48, 0x89, 0x04, 0x25, 0x00, 0x80, 0, 0, 0x90}); // MOV [8000h], RAX
    EXPECT_EQ(b.run_to_handler(), db);
}

TEST(SystemDebug, IoBreakpointNeedsDebugExtensions) {
    Board b(Board::Mode::protected32);
    set_breakpoint(b, 0, 0x80, 2, 0);
    b.program({0xE6, 0x80, 0xF4});
    EXPECT_EQ(b.run_to_handler(), -1);
    b.state().cr4 |= cr4_de;
    b.program({0xE6, 0x80, 0x90});
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at + 2);
}

TEST(SystemDebug, SingleStep) {
    Board b(Board::Mode::protected32);
    b.state().rflags |= flag_tf;
    b.cpu().update_slow_flag();
    b.program({0x40, 0x40, 0xF4});
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at + 1);
    EXPECT_EQ(b.state().dr[6] & 0xE00F, bs);
    EXPECT_TRUE(b.stacked32(2) & flag_tf);
    EXPECT_FALSE(b.state().rflags & flag_tf);
}

TEST(SystemDebug, PopfSetsTheTrapForTheInstructionAfterIt) {
    Board b(Board::Mode::protected32);
    b.program({0x68, 0x02, 0x01, 0, 0, 0x9D, 0x40, 0x40}); // PUSH 102h; POPF; INC EAX; INC EAX
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at + 7);
    EXPECT_EQ(b.gpr(rax), 1u);
}

TEST(SystemDebug, SoftwareInterruptTakesNoSingleStep) {
    Board b(Board::Mode::protected32);
    b.state().rflags |= flag_tf;
    b.cpu().update_slow_flag();
    b.program({0xCD, 0x80});
    EXPECT_EQ(b.run_to_handler(), 0x80);
    EXPECT_TRUE(b.stacked32(2) & flag_tf);
}

// SDM volume 3, 17.3.1.1: traps and interrupts after an iteration that is not the last push RF.
TEST(SystemDebug, TrapBetweenIterationsPushesRf) {
    Board b(Board::Mode::protected32);
    b.state().rflags |= flag_tf;
    b.cpu().update_slow_flag();
    b.gpr(rcx) = 2;
    b.gpr(rdi) = data_at;
    b.program({0xF3, 0xAA, 0x90, 0xF4}); // REP STOSB; NOP
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.gpr(rcx), 1u);
    EXPECT_EQ(b.stacked32(0), code_at);
    EXPECT_TRUE(b.stacked32(2) & flag_rf);
    b.program({0xCF}, second_code_at);
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.gpr(rcx), 0u);
    EXPECT_EQ(b.stacked32(0), code_at + 2);
    EXPECT_FALSE(b.stacked32(2) & flag_rf);
}

TEST(SystemDebug, InterruptBetweenIterationsPushesRf) {
    Board b(Board::Mode::protected32);
    b.gpr(rcx) = 3;
    b.gpr(rdi) = data_at;
    b.platform.interrupt = 0x40;
    b.cpu().request(event_interrupt);
    b.program({0xFB, 0xF3, 0xAA, 0xF4}); // STI; REP STOSB: the first iteration is in STI's shadow.
    EXPECT_EQ(b.run_to_handler(), 0x40);
    EXPECT_EQ(b.stacked32(0), code_at + 1);
    EXPECT_TRUE(b.stacked32(2) & flag_rf);
    EXPECT_FALSE(b.state().rflags & flag_rf);
    EXPECT_EQ(b.gpr(rcx), 2u);

    // The next interrupt comes at another instruction: no RF.
    b.program({0xFB, 0x90, 0x90, 0xF4}, second_code_at);
    b.platform.interrupt = 0x41;
    b.cpu().request(event_interrupt);
    EXPECT_EQ(b.run_to_handler(), 0x41);
    EXPECT_FALSE(b.stacked32(2) & flag_rf);
}

TEST(SystemDebug, BreakpointOfARepeatedInstructionIsPassedOnce) {
    Board b(Board::Mode::protected32);
    set_breakpoint(b, 0, code_at, 0);
    b.state().rflags |= flag_rf;
    b.cpu().update_slow_flag();
    b.gpr(rcx) = 3;
    b.gpr(rdi) = data_at;
    b.program({0xF3, 0xAA, 0xF4});
    EXPECT_EQ(b.run_to_handler(), -1);
    EXPECT_EQ(b.state().rip(), code_at + 3);
    EXPECT_FALSE(b.state().rflags & flag_rf);
}

TEST(SystemDebug, AnotherIterationIsNoBranchForBranchStepping) {
    Board b(Board::Mode::protected32);
    b.state().debugctl = 2;
    b.state().rflags |= flag_tf;
    b.cpu().update_slow_flag();
    b.gpr(rcx) = 3;
    b.gpr(rdi) = data_at;
    b.program({0xF3, 0xAA, 0xEB, 0x01, 0x90, 0x90}); // REP STOSB; JMP +1
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at + 5);
}

TEST(SystemDebug, BranchStepping) {
    Board b(Board::Mode::protected32);
    b.state().debugctl = 2;
    b.state().rflags |= flag_tf;
    b.cpu().update_slow_flag();
    b.program({0x40, 0x40, 0xEB, 0x01, 0x90, 0x90}); // INC; INC; JMP +1; NOP; NOP
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at + 5);
    EXPECT_EQ(b.state().debugctl, 0u);
}

TEST(SystemDebug, MovSsHoldsTrapsAndInterruptsBack) {
    Board b(Board::Mode::protected32);
    b.state().rflags |= flag_if;
    b.platform.interrupt = 0x40;
    b.gpr(rax) = kernel_data;
    b.program({0x8E, 0xD0, 0xBC, 0x00, 0xB0, 0, 0, 0x90}); // MOV SS, EAX; MOV ESP, 0B000h
    EXPECT_EQ(b.run(1), ExitReason::budget);
    b.cpu().request(event_interrupt);
    EXPECT_EQ(b.run_to_handler(), 0x40);
    EXPECT_EQ(b.stacked32(0), code_at + 7); // After the second instruction.
    EXPECT_EQ(b.gpr(rsp), 0xB000u - 12);

    Board step(Board::Mode::protected32);
    step.state().rflags |= flag_tf;
    step.cpu().update_slow_flag();
    step.gpr(rax) = kernel_data;
    step.program({0x8E, 0xD0, 0x90, 0x90});
    EXPECT_EQ(step.run_to_handler(), db);
    EXPECT_EQ(step.stacked32(0), code_at + 3);
}

TEST(SystemDebug, DataBreakpointOfMovSsComesAfterTheNextInstruction) {
    Board b(Board::Mode::protected32);
    b.poke<u16>(data_at, kernel_data);
    set_breakpoint(b, 0, data_at, 3, 1);
    b.program({0x8E, 0x15, 0x00, 0x80, 0, 0, 0x40, 0x40}); // MOV SS, [8000h]; INC EAX
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at + 7);
    EXPECT_EQ(b.state().dr[6] & 0xF, 1u);
}

TEST(SystemDebug, StiHoldsInterruptsForOneInstruction) {
    Board b(Board::Mode::protected32);
    b.platform.interrupt = 0x40;
    b.cpu().request(event_interrupt);
    b.program({0xFB, 0x40, 0x40, 0xF4}); // STI; INC EAX; INC EAX
    EXPECT_EQ(b.run_to_handler(), 0x40);
    EXPECT_EQ(b.stacked32(0), code_at + 2);

    Board off(Board::Mode::protected32); // STI; CLI: no window at all.
    off.platform.interrupt = 0x40;
    off.cpu().request(event_interrupt);
    off.program({0xFB, 0xFA, 0x90, 0x90, 0xF4});
    EXPECT_EQ(off.run_to_handler(), -1);
    EXPECT_EQ(off.state().rip(), code_at + 5);

    Board again(Board::Mode::protected32); // A jump to itself does not prolong the shadow.
    again.platform.interrupt = 0x40;
    again.cpu().request(event_interrupt);
    again.program({0xFB, 0xEB, 0xFE});
    EXPECT_EQ(again.run_to_handler(), 0x40);
}

TEST(SystemDebug, StiHltIsWokenByAPendingInterrupt) {
    Board b(Board::Mode::protected32);
    b.platform.interrupt = 0x40;
    b.cpu().request(event_interrupt);
    b.program({0xFB, 0xF4, 0x90});
    EXPECT_EQ(b.run_to_handler(), 0x40);
    EXPECT_EQ(b.stacked32(0), code_at + 2); // After HLT.
}

TEST(SystemDebug, GeneralDetect) {
    Board b(Board::Mode::protected32);
    b.state().dr[7] |= bd;
    b.program({0x0F, 0x21, 0xC0}); // MOV EAX, DR0
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at);
    EXPECT_TRUE(b.state().dr[6] & bd);
    EXPECT_FALSE(b.state().dr[7] & bd);
}

TEST(SystemDebug, RegisterAliasesAndFixedBits) {
    Board b(Board::Mode::protected32);
    b.gpr(rax) = 0xFFFFFFFF;
    b.program({0x0F, 0x23, 0xE0, 0x0F, 0x21, 0xF3, 0xF4}); // MOV DR4, EAX; MOV EBX, DR6
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 0xFFFFEFFFu); // Bit 12 is always clear.
    b.state().cr4 |= cr4_de;
    b.program({0x0F, 0x23, 0xE0});
    EXPECT_EQ(b.run_to_handler(), ud);

    Board seven(Board::Mode::protected32);
    seven.gpr(rax) = 0;
    seven.program({0x0F, 0x23, 0xF8, 0x0F, 0x21, 0xFB, 0xF4}); // MOV DR7, EAX; MOV EBX, DR7
    EXPECT_EQ(seven.run(), ExitReason::halted);
    EXPECT_EQ(seven.gpr(rbx), 0x400u);

    Board wide(Board::Mode::long64);
    wide.gpr(rax) = u64{1} << 32;
    wide.program({0x0F, 0x23, 0xF8});
    EXPECT_EQ(wide.run_to_handler(), gp);
}

} // namespace
} // namespace calque::cpu::testing
