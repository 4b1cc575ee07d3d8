// Regions: paths through branches, calls and pages that were followed once, where the program does otherwise later.
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

#include <thread>

namespace calque::cpu::testing {
namespace {

class JitRegions : public ::testing::Test {
  protected:
    static constexpr unsigned enough = 12; // Runs after which there is a region, the engine being asked so often.

    ExitReason again() {
        b.state().rip() = code_at;
        b.state().activity = Activity::running;
        return b.run(~u64{0});
    }
    // Zero where there are none to be made (the interpreter, units of one instruction).
    u64 regions() {
        const auto* const engine = dynamic_cast<jit::Engine*>(&b.engine());
        return engine ? engine->counters().regions : 0;
    }
    static bool makes_regions() {
        const char* const name = std::getenv("CALQUE_ENGINE");
        return name && std::string_view(name) == "jit" && jit::Engine::supported();
    }
    Board b{Board::Mode::long64};
};

TEST_F(JitRegions, GoWhereABranchIsTaken) {
    // again: ADD RAX, RCX; TEST CL, 7; JNE over; ADD RBX, RAX; over: SUB RCX, 1; JNZ again; HLT
    b.program(
        {0x48, 0x01, 0xC8, 0xF6, 0xC1, 0x07, 0x75, 0x03, 0x48, 0x01, 0xC3, 0x48, 0x83, 0xE9, 0x01, 0x75, 0xEF, 0xF4});
    for (unsigned n = 0; n < enough; ++n) {
        u64 sum = 0, sums = 0;
        for (u64 c = 100; c != 0; --c) {
            sum += c;
            if (c % 8 == 0) sums += sum;
        }
        b.gpr(rax) = b.gpr(rbx) = 0;
        b.gpr(rcx) = 100;
        ASSERT_EQ(again(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rax), sum);
        EXPECT_EQ(b.gpr(rbx), sums);
    }
    EXPECT_EQ(regions() != 0, makes_regions());
}

TEST_F(JitRegions, LeaveWhereAReturnIsToElsewhere) {
    // again: CALL f; INC EAX; JMP next; INC EBX; next: DEC ECX; JNZ again; HLT;
    // f: CMP CL, DL; JNE to the RET; ADD QWORD [RSP], 4; RET
    b.program({0xE8, 0x0B, 0x00, 0x00, 0x00, 0xFF, 0xC0, 0xEB, 0x02, 0xFF, 0xC3, 0xFF, 0xC9,
               0x75, 0xF1, 0xF4, 0x38, 0xD1, 0x75, 0x05, 0x48, 0x83, 0x04, 0x24, 0x04, 0xC3});
    for (unsigned n = 0; n < 2 * enough; ++n) {
        b.gpr(rax) = b.gpr(rbx) = 0;
        b.gpr(rcx) = 50;
        b.gpr(rdx) = n < enough ? 0 : n; // Later it returns to elsewhere once.
        const u64 stack = b.gpr(rsp);
        ASSERT_EQ(again(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rax), n < enough ? 50u : 49u);
        EXPECT_EQ(b.gpr(rbx), n < enough ? 0u : 1u);
        EXPECT_EQ(b.gpr(rsp), stack);
    }
    EXPECT_EQ(regions() != 0, makes_regions());
}

TEST_F(JitRegions, AReturnThatFaultsIsExact) {
    // again: CALL f; DEC ECX; JNZ again; HLT; f: CMP CL, DL; CMOVE RSP, RSI; CMP EAX, EAX; RET
    b.program({0xE8, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xC9, 0x75, 0xF7, 0xF4, 0x38, 0xD1, 0x48, 0x0F, 0x44, 0xE6, 0x39,
               0xC0, 0xC3});
    b.gpr(rsi) = 0x200000;                                           // Nothing is mapped there.
    b.set_idt(pf, gate(kernel_code, Board::handler(pf), 0xE, 0, 1)); // On a stack of its own.
    for (unsigned n = 0; n < enough; ++n) {
        b.gpr(rcx) = 50;
        b.gpr(rdx) = 0;
        ASSERT_EQ(again(), ExitReason::halted);
    }
    b.gpr(rcx) = 50;
    b.gpr(rdx) = 20;
    b.state().rip() = code_at;
    b.state().activity = Activity::running;
    EXPECT_EQ(b.run_to_handler(~u64{0}), pf);
    EXPECT_EQ(b.state().cr2, 0x200000u);
    EXPECT_EQ(b.stacked64(1), code_at + 18);
    EXPECT_EQ(b.stacked64(3) & flag_zf, flag_zf);
    EXPECT_EQ(b.gpr(rcx), 20u);
    EXPECT_EQ(regions() != 0, makes_regions());
}

// A page of the path is mapped elsewhere, where the code is another.
TEST_F(JitRegions, LeaveWhereAPageIsAnother) {
    constexpr u64 called = 0x40'0000, table = page_tables + 0x4000;
    b.poke<u64>(page_tables + 0x2000 + (called >> 21) * 8, table | 7);
    b.poke<u64>(table, 0x7000 | 7);
    b.bytes(0x7000, {0xFF, 0xC0, 0xC3}); // INC EAX; RET
    b.bytes(0x9000, {0xFF, 0xC3, 0xC3}); // INC EBX; RET
    // again: CALL called; DEC ECX; JNZ again; HLT
    b.program({0xE8, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xC9, 0x75, 0xF7, 0xF4});
    b.poke<u32>(code_at + 1, static_cast<u32>(called - (code_at + 5)));
    b.gpr(rax) = b.gpr(rbx) = 0;
    for (unsigned n = 0; n < 2 * enough; ++n) {
        if (n == enough) {
            EXPECT_EQ(regions() != 0, makes_regions());
            b.poke<u64>(table, 0x9000 | 7);
            b.cpu().mmu.flush_page(LinearAddress(called));
        }
        b.gpr(rcx) = 50;
        ASSERT_EQ(again(), ExitReason::halted);
    }
    EXPECT_EQ(b.gpr(rax), 50u * enough);
    EXPECT_EQ(b.gpr(rbx), 50u * enough);
}

// What the path leads to is written, on whichever page it is.
TEST_F(JitRegions, GoWhenAnyOfTheirCodeIsWritten) {
    // again: CALL second_code_at; JMP over (a byte); over: DEC ECX; JNZ again; HLT
    b.program({0xE8, 0xFB, 0x0F, 0x00, 0x00, 0xEB, 0x01, 0xCC, 0xFF, 0xC9, 0x75, 0xF4, 0xF4});
    b.bytes(second_code_at, {0x83, 0xC0, 0x01, 0xC3}); // ADD EAX, 1; RET
    u64 sum = 0;
    b.gpr(rax) = 0;
    for (unsigned n = 0; n < 6 * enough; ++n) {
        const u8 step = static_cast<u8>(1 + n / enough);
        if (n % enough == 0) b.bytes(second_code_at, {0x83, 0xC0, step, 0xC3});
        b.gpr(rcx) = 50;
        ASSERT_EQ(again(), ExitReason::halted);
        sum += 50u * step;
        ASSERT_EQ(b.gpr(rax), sum);
    }
    EXPECT_EQ(regions() != 0, makes_regions());
}

// The code writes what comes next on its own path.
TEST_F(JitRegions, AStoreToThePathCountsAtOnce) {
    // again: MOV [over+1], DL; CMP CL, 9; JNE over; INC EBX; over: MOV AL, 0; ADD ESI, EAX; INC EDX; DEC ECX;
    // JNZ again; HLT
    b.program({0x88, 0x14, 0x25, 0x00, 0x00, 0x00, 0x00, 0x80, 0xF9, 0x09, 0x75, 0x02, 0xFF,
               0xC3, 0xB0, 0x00, 0x01, 0xC6, 0xFF, 0xC2, 0xFF, 0xC9, 0x75, 0xE8, 0xF4});
    b.poke<u32>(code_at + 3, code_at + 15);
    for (unsigned n = 0; n < enough; ++n) {
        b.gpr(rax) = b.gpr(rbx) = b.gpr(rsi) = 0;
        b.gpr(rdx) = 3;
        b.gpr(rcx) = 40;
        ASSERT_EQ(again(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rsi), 40u * 3 + 39u * 40 / 2);
        EXPECT_EQ(b.gpr(rbx), 1u);
    }
}

// No way round, however it is put together, is without a look at the events.
TEST_F(JitRegions, EventsEndTheWayRound) {
    // JMP start; back: INC EAX; NOP; (falls into) start: TEST ECX, ECX; JZ on; HLT; on: JMP back
    b.program({0xEB, 0x03, 0xFF, 0xC0, 0x90, 0x85, 0xC9, 0x74, 0x01, 0xF4, 0xEB, 0xF6});
    b.gpr(rcx) = 0;
    for (unsigned n = 0; n < enough; ++n) {
        std::thread other([this] {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
            b.cpu().request(event_stop);
        });
        b.state().rip() = n == 0 ? code_at : b.state().rip();
        EXPECT_EQ(b.run(~u64{0}), ExitReason::stopped);
        other.join();
        b.cpu().withdraw(event_stop);
    }
    EXPECT_EQ(regions() != 0, makes_regions());
}

} // namespace
} // namespace calque::cpu::testing
