// Where the x87 state is, and what does not go through handlers.
#include "tests/jit/x87_machine.h"

#include <gtest/gtest.h>

namespace calque::jit::test {
namespace {

using namespace cpu;

class X87Cases : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!Engine::supported()) GTEST_SKIP() << "no translated code on this host";
    }
};

// MOV ECX, 1000; `body`; DEC ECX; JNZ body; HLT
std::vector<u8> loop(std::initializer_list<u8> body) {
    std::vector<u8> code{0xB9, 0xE8, 0x03, 0x00, 0x00};
    code.insert(code.end(), body);
    code.insert(code.end(), {0xFF, 0xC9, 0x75, static_cast<u8>(-static_cast<int>(body.size()) - 4), 0xF4});
    return code;
}

void start(X87Machine& machine) {
    machine.reset(1);
    machine.state().x87 = X87State{};
    machine.state().x87.control = 0x37F;
}

u16 host_control() {
    u16 control = 0;
#if defined(__x86_64__)
    asm volatile("fnstcw %0" : "=m"(control));
#endif
    return control;
}

TEST_F(X87Cases, StateIsInTheProcessorWhenRunReturns) {
    X87Machine machine(true);
    start(machine);
    machine.state().x87.control = 0x77F; // Rounds down.
    const u16 before = host_control();
    // FLD1; FLD1; FADDP; FSTP ST0; FLD1; FSTP ST0
    ASSERT_EQ(machine.run(loop({0xD9, 0xE8, 0xD9, 0xE8, 0xDE, 0xC1, 0xDD, 0xD8, 0xD9, 0xE8, 0xDD, 0xD8})),
              ExitReason::halted);
    EXPECT_EQ(host_control(), before);
    EXPECT_EQ(machine.state().x87.control, 0x77F);
    EXPECT_EQ(machine.state().x87.valid, 0);
    machine.state().activity = Activity::running;
    ASSERT_EQ(machine.run(std::vector<u8>{0xD9, 0xE8, 0xD9, 0xEB, 0xF4}), ExitReason::halted); // FLD1; FLDPI
    EXPECT_EQ(machine.state().x87.top(), 6u);
    EXPECT_EQ(machine.state().x87.valid, 0xC0);
    EXPECT_EQ(machine.state().x87.reg[7].significand, u64{1} << 63);
    EXPECT_EQ(machine.state().x87.reg[6].significand, 0xC90FDAA22168C234);
    EXPECT_EQ(machine.state().x87.instruction_pointer, program_at + 2);
}

TEST_F(X87Cases, LoopsDoNotGoThroughHandlers) {
    X87Machine machine(true);
    start(machine);
    // FILD word [R15 + 40h]; FNSTCW [R15]; FLDCW [R15 + 2]; FISTP dword [R15 + 8]; FLDCW [R15]; FLD tbyte; FSTP;
    // FLDZ; FCOMIP; ...
    machine.machine().poke<u16>(saves_at + 2, 0xF7F);
    const auto program =
        loop({0x41, 0xDF, 0x47, 0x40, 0x41, 0xD9, 0x3F, 0x41, 0xD9, 0x6F, 0x02, 0x41, 0xDB, 0x5F, 0x08, 0x41, 0xD9,
              0x2F, 0x41, 0xDB, 0x6F, 0x20, 0xD9, 0xEE, 0xDF, 0xF1, 0x41, 0xDB, 0x7F, 0x30, 0x9B, 0xDB, 0xE2});
    ASSERT_EQ(machine.run(program), ExitReason::halted);
    EXPECT_LT(machine.engine()->counters().interpreted, 50u);
    EXPECT_EQ(machine.state().x87.control, 0x37F);
    EXPECT_EQ(machine.state().gpr[rcx], 0u);
}

TEST_F(X87Cases, LoopsOfMmxDoNotGoThroughHandlers) {
    X87Machine machine(true);
    start(machine);
    // MOVQ MM0, [R15]; PADDB MM0, [R15 + 8]; MOVD EDX, MM0; EMMS
    machine.machine().poke<u64>(saves_at, 0x0101010101010101);
    machine.machine().poke<u64>(saves_at + 8, 0x01020304050607FF);
    ASSERT_EQ(machine.run(loop({0x41, 0x0F, 0x6F, 0x07, 0x41, 0x0F, 0xFC, 0x47, 0x08, 0x0F, 0x7E, 0xC2, 0x0F, 0x77})),
              ExitReason::halted);
    EXPECT_LT(machine.engine()->counters().interpreted, 50u);
    EXPECT_EQ(machine.state().gpr[rdx], 0x06070800u);
    EXPECT_EQ(machine.state().x87.valid, 0);
}

TEST_F(X87Cases, TranscendentalsAreExactUnlessTheHostsAreWanted) {
    EngineOptions native;
    native.switches.x87_transcendentals = true;
    const auto program = loop({0xD9, 0xE8, 0xD9, 0xFE, 0xDD, 0xD8}); // FLD1; FSIN; FSTP ST0
    X87Machine exact(true), host(true, native);
    for (X87Machine* const machine : {&exact, &host}) {
        start(*machine);
        ASSERT_EQ(machine->run(program), ExitReason::halted);
    }
    EXPECT_GT(exact.engine()->counters().interpreted, 900u);
    EXPECT_LT(host.engine()->counters().interpreted, 50u);
}

TEST_F(X87Cases, WithoutTheSwitchEverythingGoesThroughHandlers) {
    EngineOptions off;
    off.switches.x87 = false;
    X87Machine machine(true, off);
    start(machine);
    ASSERT_EQ(machine.run(loop({0xD9, 0xE8, 0xDD, 0xD8, 0x0F, 0xEF, 0xC0})), ExitReason::halted);
    EXPECT_EQ(machine.engine()->counters().x87_stores, 0u);
    EXPECT_EQ(machine.state().x87.valid, 0xFF);
}

// #MF is the handlers' to raise: FLDCW that unmasks what has happened leaves the host's unit.
TEST_F(X87Cases, UnmaskedExceptionsAreRaisedByTheNextInstruction) {
    X87Machine interpreted(false), translated(true);
    // FLD1; FLDZ; FDIVP (zero-divide); FLDCW that unmasks; FLD1 (#MF, handler: FNCLEX); FNINIT
    for (X87Machine* const machine : {&interpreted, &translated}) {
        start(*machine);
        machine->machine().poke<u16>(saves_at, 0x37B);
        ASSERT_EQ(machine->run(loop({0xD9, 0xE8, 0xD9, 0xEE, 0xDE, 0xF9, 0x41, 0xD9, 0x2F, 0xD9, 0xE8, 0xDB, 0xE3})),
                  ExitReason::halted);
    }
    EXPECT_EQ(difference(interpreted, translated), "");
}

} // namespace
} // namespace calque::jit::test
