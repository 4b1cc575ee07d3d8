// A debugger's stops (cpu/debug_stops.h, mmu/watchpoints.h), which the guest does not know of.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

using Reason = DebugStop::Reason;

void set_breakpoints(Board& b, std::vector<u64> addresses) {
    DebugStops& debug = b.cpu().debug;
    for (const u64 address : addresses)
        debug.offsets.set(address & page_offset_mask);
    debug.breakpoints = std::move(addresses);
    b.engine().flush();
}
void set_watchpoint(Board& b, u64 address, u64 length, bool reads, bool writes) {
    b.cpu().mmu.set_watchpoints({{address, length, reads, writes}}, [&b](u64 at, bool write) {
        b.cpu().debug_stop({Reason::watchpoint, at, write});
    });
    b.cpu().debug.single_instructions = true;
    b.engine().flush();
}
void set_step(Board& b, bool on) {
    b.cpu().debug.step = on;
    b.cpu().update_slow_flag();
}
// What made the processor stop; none when something else ended the run.
DebugStop run_to_stop(Board& b) {
    const ExitReason reason = b.run();
    if (reason != ExitReason::stopped) return {};
    b.cpu().withdraw(event_stop);
    return std::exchange(b.cpu().debug.stop, {});
}
void pass_breakpoint(Board& b) { b.cpu().debug.pass = b.cpu().linear_rip(); }

// RAX, RBX and RDX count the rounds of a loop.
constexpr u64 rounds = 50, loop_middle = code_at + 8;
void counting_loop(Board& b) {
    b.gpr(rax) = b.gpr(rbx) = b.gpr(rdx) = 0;
    b.program({0xB9, rounds, 0, 0, 0, // MOV ECX, rounds
               0x48, 0xFF, 0xC0,      // INC RAX
               0x48, 0xFF, 0xC3,      // INC RBX
               0x48, 0xFF, 0xC2,      // INC RDX
               0xFF, 0xC9,            // DEC ECX
               0x75, 0xF3,            // JNZ to INC RAX
               0xF4});
}

TEST(SystemDebugger, BreakpointInALoopThatIsHotStopsEachRound) {
    Board b(Board::Mode::long64);
    counting_loop(b);
    ASSERT_EQ(b.run(), ExitReason::halted);
    counting_loop(b);
    set_breakpoints(b, {loop_middle});
    for (u64 round = 1; round <= rounds; ++round) {
        const DebugStop stop = run_to_stop(b);
        ASSERT_EQ(stop.reason, Reason::breakpoint) << round;
        ASSERT_EQ(stop.address, loop_middle);
        ASSERT_EQ(b.state().rip(), loop_middle);
        ASSERT_EQ(b.gpr(rax), round);
        ASSERT_EQ(b.gpr(rbx), round - 1);
        pass_breakpoint(b);
    }
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rdx), rounds);
}

TEST(SystemDebugger, AnotherPageWithThatOffsetRunsThrough) {
    Board b(Board::Mode::long64);
    set_breakpoints(b, {second_code_at + 8});
    for (unsigned n = 0; n < 3; ++n) {
        counting_loop(b);
        ASSERT_EQ(b.run(), ExitReason::halted);
        ASSERT_EQ(b.gpr(rbx), rounds);
    }
}

TEST(SystemDebugger, BreakpointsOnBothSidesOfAPageEdge) {
    Board b(Board::Mode::long64);
    set_breakpoints(b, {0x6FFD, 0x7000});
    for (unsigned n = 0; n < 40; ++n) {
        b.gpr(rdx) = 0;
        b.program({0x48, 0xFF, 0xC0, 0x48, 0xFF, 0xC3, 0x48, 0xFF, 0xC2, 0xF4}, 0x6FFA); // INC RAX, RBX, RDX
        for (const u64 address : {0x6FFD, 0x7000}) {
            ASSERT_EQ(run_to_stop(b).address, address);
            pass_breakpoint(b);
        }
        ASSERT_EQ(b.run(), ExitReason::halted);
        ASSERT_EQ(b.gpr(rdx), 1u);
    }
}

TEST(SystemDebugger, BreakpointAtAnInstructionThatCrossesAPageButNotInItsMiddle) {
    Board b(Board::Mode::long64);
    set_breakpoints(b, {0x6FFE, 0x7000, 0x7001});
    for (unsigned n = 0; n < 40; ++n) {
        b.gpr(rbx) = 0;
        b.program({0x48, 0xFF, 0xC0, 0x48, 0xFF, 0xC3, 0xF4}, 0x6FFE);
        for (const u64 address : {0x6FFE, 0x7001}) {
            ASSERT_EQ(run_to_stop(b).address, address);
            pass_breakpoint(b);
        }
        ASSERT_EQ(b.run(), ExitReason::halted);
        ASSERT_EQ(b.gpr(rbx), 1u);
    }
}

TEST(SystemDebugger, CodeThatPatchesTheInstructionWithABreakpoint) {
    Board b(Board::Mode::long64);
    constexpr u64 patched = code_at + 0xB;
    set_breakpoints(b, {patched});
    b.gpr(rbx) = 0;
    b.program({0xB9, 20,   0,    0,    0,    // MOV ECX, 20
               0x88, 0x0D, 1,    0,    0, 0, // MOV [immediate], CL
               0xB8, 0,    0,    0,    0,    // MOV EAX, immediate
               0x48, 0x01, 0xC3,             // ADD RBX, RAX
               0xFF, 0xC9, 0x75, 0xEE,       // DEC ECX; JNZ to MOV [immediate]
               0xF4});
    for (unsigned n = 20; n != 0; --n) {
        ASSERT_EQ(run_to_stop(b).address, patched);
        ASSERT_EQ(b.peek<u8>(patched + 1), n);
        pass_breakpoint(b);
    }
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 20u * 21 / 2);
}

TEST(SystemDebugger, CodeWrittenByTheDebuggerIsWhatRuns) {
    Board b(Board::Mode::long64);
    counting_loop(b);
    set_breakpoints(b, {loop_middle});
    ASSERT_EQ(run_to_stop(b).address, loop_middle);
    b.bytes(loop_middle, {0x48, 0xFF, 0xCB}); // DEC RBX
    set_breakpoints(b, {});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), ~rounds + 1);
}

TEST(SystemDebugger, BreakpointsAreLinearAddresses) {
    Board b(Board::Mode::real);
    b.segment(cs).base = 0x5000;
    b.cpu().update_mode();
    set_breakpoints(b, {code_at + 1});
    b.program({0x90, 0x90, 0xF4});
    EXPECT_EQ(run_to_stop(b).address, code_at + 1);
    EXPECT_EQ(b.state().rip(), code_at + 1 - 0x5000);
}

TEST(SystemDebugger, StepsOneInstructionAtATime) {
    Board b(Board::Mode::long64);
    counting_loop(b);
    ASSERT_EQ(b.run(), ExitReason::halted);
    counting_loop(b);
    set_step(b, true);
    for (const u64 offset : {0x5, 0x8, 0xB, 0xE, 0x10, 0x5, 0x8}) {
        ASSERT_EQ(run_to_stop(b).reason, Reason::step);
        ASSERT_EQ(b.state().rip(), code_at + offset);
    }
    set_step(b, false);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), rounds);
}

TEST(SystemDebugger, StepOntoAFaultStopsAtItsHandler) {
    Board b(Board::Mode::long64);
    b.program({0x0F, 0x0B});
    set_step(b, true);
    EXPECT_EQ(run_to_stop(b).reason, Reason::step);
    EXPECT_EQ(b.state().rip(), Board::handler(ud));
}

TEST(SystemDebugger, InterruptsWaitWhileStepping) {
    Board b(Board::Mode::long64);
    b.program({0x90, 0x90, 0xF4});
    b.state().rflags |= flag_if;
    b.platform.interrupt = 0x30;
    b.cpu().request(event_interrupt);
    set_step(b, true);
    EXPECT_EQ(run_to_stop(b).reason, Reason::step);
    EXPECT_EQ(b.state().rip(), code_at + 1);
    set_step(b, false);
    EXPECT_EQ(b.run_to_handler(), 0x30);
    EXPECT_EQ(b.stacked64(0), code_at + 1);
}

TEST(SystemDebugger, ExceptionsAreSeenAtTheirHandlers) {
    Board b(Board::Mode::long64);
    b.cpu().debug.vectors = 1u << ud | 1u << bp;
    b.program({0x90, 0x0F, 0x0B});
    DebugStop stop = run_to_stop(b);
    EXPECT_EQ(stop.reason, Reason::exception);
    EXPECT_EQ(stop.vector, ud);
    EXPECT_EQ(stop.address, code_at + 1);
    EXPECT_EQ(b.state().rip(), Board::handler(ud));
    EXPECT_EQ(b.run_to_handler(), ud);
    b.program({0xCC});
    EXPECT_EQ(run_to_stop(b).vector, bp);
    b.program({0xF1}); // INT1: not asked for.
    EXPECT_EQ(b.run_to_handler(), db);
}

// Writes RAX to eight bytes at RDI + 8 * RCX, from the last to the first.
constexpr u64 after_store = code_at + 9;
void storing_loop(Board& b, u8 opcode = 0x89) {
    b.gpr(rax) = b.gpr(rbx) = 0;
    b.gpr(rdi) = data_at;
    b.program({0xB9, rounds, 0,    0,    0, // MOV ECX, rounds
               0x48, opcode, 0x14, 0xCF,    // MOV [RDI + RCX * 8], RDX, or the other way
               0x48, 0xFF,   0xC0,          // INC RAX
               0x48, 0xFF,   0xC3,          // INC RBX
               0xFF, 0xC9,   0x75, 0xF2,    // DEC ECX; JNZ to MOV
               0xF4});
}

TEST(SystemDebugger, WatchpointStopsBehindTheStore) {
    Board b(Board::Mode::long64);
    storing_loop(b);
    ASSERT_EQ(b.run(), ExitReason::halted);
    storing_loop(b);
    set_watchpoint(b, data_at + 10 * 8 + 3, 1, false, true);
    const DebugStop stop = run_to_stop(b);
    EXPECT_EQ(stop.reason, Reason::watchpoint);
    EXPECT_EQ(stop.address, data_at + 10 * 8 + 3);
    EXPECT_TRUE(stop.write);
    EXPECT_EQ(b.state().rip(), after_store);
    EXPECT_EQ(b.gpr(rcx), 10u);
    EXPECT_EQ(b.gpr(rbx), rounds - 10);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), rounds);
}

TEST(SystemDebugger, ReadsAndWritesAreWatchedApart) {
    for (const bool store : {false, true}) {
        for (const bool watch_writes : {false, true}) {
            Board b(Board::Mode::long64);
            storing_loop(b, store ? 0x89 : 0x8B);
            ASSERT_EQ(b.run(), ExitReason::halted);
            storing_loop(b, store ? 0x89 : 0x8B);
            set_watchpoint(b, data_at + 8, 8, !watch_writes, watch_writes);
            const DebugStop stop = run_to_stop(b);
            EXPECT_EQ(stop.reason, store == watch_writes ? Reason::watchpoint : Reason::none);
            if (store == watch_writes) {
                EXPECT_EQ(b.state().rip(), after_store);
            }
        }
    }
}

TEST(SystemDebugger, WhatIsBesideAWatchpointIsNobodysBusiness) {
    Board b(Board::Mode::long64);
    set_watchpoint(b, data_at + (rounds + 1) * 8, 8, true, true);
    storing_loop(b);
    EXPECT_EQ(b.run(), ExitReason::halted);
}

TEST(SystemDebugger, WatchedPieceOfAStoreAcrossTwoPages) {
    Board b(Board::Mode::long64);
    set_watchpoint(b, 0x9000, 1, false, true);
    b.gpr(rdi) = 0x8FFC;
    b.program({0x48, 0x89, 0x07, 0x90, 0xF4}); // MOV [RDI], RAX
    EXPECT_EQ(run_to_stop(b).address, 0x9000u);
    EXPECT_EQ(b.state().rip(), code_at + 3);
}

TEST(SystemDebugger, WatchedMemoryOfStringsLocksAndTheStack) {
    Board b(Board::Mode::long64);
    set_watchpoint(b, data_at + 50, 1, false, true);
    b.gpr(rdi) = data_at;
    b.gpr(rcx) = 100;
    b.gpr(rax) = 0x5A;
    b.program({0xF3, 0xAA, 0xF4}); // REP STOSB
    EXPECT_EQ(run_to_stop(b).address, data_at + 50);
    EXPECT_EQ(b.peek<u8>(data_at + 50), 0x5A);
    while (run_to_stop(b).reason != Reason::none)
        continue;
    EXPECT_EQ(b.gpr(rcx), 0u);
    EXPECT_EQ(b.peek<u8>(data_at + 99), 0x5A);
    b.gpr(rdi) = data_at + 48;
    b.poke<u64>(data_at + 48, 7);
    b.gpr(rax) = 5;
    b.program({0xF0, 0x48, 0x01, 0x07, 0x90, 0xF4}); // LOCK ADD [RDI], RAX
    EXPECT_EQ(run_to_stop(b).address, data_at + 50);
    EXPECT_EQ(b.state().rip(), code_at + 4);
    EXPECT_EQ(b.peek<u64>(data_at + 48), 12u);
    b.gpr(rsp) = data_at + 56;
    b.program({0x50, 0x90, 0xF4}); // PUSH RAX
    EXPECT_EQ(run_to_stop(b).address, data_at + 50);
    EXPECT_EQ(b.state().rip(), code_at + 1);
}

TEST(SystemDebugger, WithoutWatchpointsNothingIsWatchedAnyMore) {
    Board b(Board::Mode::long64);
    set_watchpoint(b, data_at + 8, 8, true, true);
    storing_loop(b);
    ASSERT_EQ(run_to_stop(b).reason, Reason::watchpoint);
    b.cpu().mmu.set_watchpoints({}, {});
    storing_loop(b);
    EXPECT_EQ(b.run(), ExitReason::halted);
}

} // namespace
} // namespace calque::cpu::testing
