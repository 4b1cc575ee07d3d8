// Units that count (jit/emit/counting.h), and the text of units (jit/debug/unit_dump.h).
#include "cpu/interpreter.h"
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

class JitCounting : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!dynamic_cast<jit::Engine*>(&b.engine())) GTEST_SKIP() << "by the interpreter";
    }
    jit::EngineOptions options(jit::Counting counting) const {
        jit::EngineOptions options;
        options.switches.regions = false; // Some instructions would be the interpreter's.
        options.hot_after = 1;
        options.code_bytes = std::size_t{4} << 20;
        options.switches.verify = true;
        options.counting = counting;
        return options;
    }
    // RAX, RDX, R13 and memory change all the time; a division faults (by 0) when RBX comes to 0, and its handler goes
    // on behind it.
    void write_program() {
        b.bytes(code_at, {0x48, 0xFF, 0x04, 0x25, 0x00, 0x80, 0x00, 0x00, // INC QWORD [8000h]
                          0x48, 0x8B, 0x07,                               // MOV RAX, [RDI]
                          0x48, 0x03, 0x47, 0x08,                         // ADD RAX, [RDI + 8]
                          0x48, 0x89, 0x47, 0x10,                         // MOV [RDI + 10h], RAX
                          0x41, 0x55, 0x41, 0x5D,                         // PUSH R13; POP R13
                          0x49, 0xFF, 0xC5,                               // INC R13
                          0x31, 0xD2,                                     // XOR EDX, EDX
                          0x48, 0xFF, 0xCB,                               // DEC RBX
                          0x48, 0xF7, 0xF3,                               // DIV RBX
                          0x53, 0x0F, 0xA2, 0x5B,                         // PUSH RBX; CPUID; POP RBX
                          0xB9, 0x02, 0x00, 0x00, 0x00,                   // MOV ECX, 2
                          0x48, 0xFF, 0xC3,                               // INC RBX
                          0x48, 0xFF, 0xCB,                               // DEC RBX
                          0xE8, 0x02, 0x00, 0x00, 0x00,                   // CALL +2
                          0xEB, 0xC8,                                     // JMP to the start
                          0xF3, 0xA4, 0xC3});                             // REP MOVSB; RET
        // Behind DIV.
        b.bytes(handlers_at, {0x48, 0x83, 0x04, 0x24, 0x03, 0x48, 0xCF}); // ADD QWORD [RSP], 3; IRETQ
        b.set_idt(0, gate(kernel_code, handlers_at, 0xE, 0));
    }
    void start() {
        b.state().gpr.fill(0);
        b.gpr(rsp) = kernel_stack;
        b.gpr(rbx) = 5;
        b.gpr(rdi) = data_at + 0xFF4; // The range of accesses crosses a page.
        b.gpr(rsi) = data_at;
        b.state().rip() = code_at;
        write_rflags(b.state(), flag_one);
        for (u64 at = data_at; at < data_at + 0x1100; at += 8)
            b.poke<u64>(at, 0);
        b.cpu().instructions = 0;
    }
    std::vector<u64> seen() {
        std::vector<u64> values(b.state().gpr.begin(), b.state().gpr.end());
        values.insert(values.end(),
                      {b.cpu().rflags(), b.cpu().instructions, b.peek<u64>(data_at), b.peek<u64>(data_at + 0x1004)});
        return values;
    }

    Board b{Board::Mode::long64};
};

TEST_F(JitCounting, ABudgetIsKeptToTheInstructionByBothEngines) {
    jit::Engine engine(b.memory, b.log, options(jit::Counting::bounded));
    Interpreter interpreter(b.memory, b.log, 1u << 16);
    write_program();
    for (u64 budget = 200; budget < 500; ++budget) {
        start();
        EXPECT_EQ(interpreter.run(b.cpu(), budget), ExitReason::budget);
        const std::vector<u64> expected = seen();
        EXPECT_EQ(b.cpu().instructions, budget);
        start();
        EXPECT_EQ(engine.run(b.cpu(), budget), ExitReason::budget);
        EXPECT_EQ(seen(), expected) << budget;
    }
    EXPECT_GT(engine.counters().counted, 1000u);
    EXPECT_GT(engine.counters().ranges_refused, 0u);
}

TEST_F(JitCounting, CountsOfAMillionRounds) {
    jit::Engine engine(b.memory, b.log, options(jit::Counting::all));
    b.gpr(rcx) = 1'000'000;
    b.gpr(rbx) = data_at;
    // MOV RAX, [RBX]; ADD RAX, [RBX + 8]; DEC RCX; JNZ; HLT
    b.program({0x48, 0x8B, 0x03, 0x48, 0x03, 0x43, 0x08, 0x48, 0xFF, 0xC9, 0x75, 0xF4, 0xF4});
    b.cpu().instructions = 0;
    EXPECT_EQ(engine.run(b.cpu(), ~u64{0}), ExitReason::halted);
    EXPECT_EQ(b.cpu().instructions, 4'000'001u);
    EXPECT_EQ(engine.counters().counted, 4'000'001u);
    EXPECT_NE(engine.describe().find("  by their handlers 1 (0.000%)"), std::string::npos) << engine.describe();
    EXPECT_NE(engine.describe().find("  memory accesses   2000000"), std::string::npos) << engine.describe();
}

// By straight runs of instructions, with branches that leave in the middle of a unit.
TEST_F(JitCounting, SpeedCountsEveryInstructionThatDoesNotFault) {
    jit::Engine engine(b.memory, b.log, options(jit::Counting::speed));
    Interpreter interpreter(b.memory, b.log, 1u << 16);
    const auto run = [&](auto& by) {
        b.state().gpr.fill(0);
        b.gpr(rcx) = 100'000;
        b.gpr(rsp) = kernel_stack;
        b.program({0x48, 0x01, 0xC8,               // ADD RAX, RCX
                   0xA8, 0x06, 0x75, 0x05,         // TEST AL, 6; JNZ +5
                   0x48, 0xFF, 0xC3,               // INC RBX
                   0xEB, 0x09,                     // JMP +9
                   0xA8, 0x01, 0x74, 0x05,         // TEST AL, 1; JZ +5
                   0xE8, 0x07, 0x00, 0x00, 0x00,   // CALL +7
                   0x48, 0xFF, 0xC9, 0x75, 0xE7,   // DEC RCX; JNZ to the start
                   0xEB, 0x04,                     // JMP to the end
                   0x48, 0xFF, 0xC2, 0xC3, 0xF4}); // INC RDX; RET; HLT
        b.cpu().instructions = 0;
        EXPECT_EQ(by.run(b.cpu(), ~u64{0}), ExitReason::halted);
        return b.cpu().instructions;
    };
    const u64 all = run(interpreter);
    EXPECT_GT(all, 700'000u);
    EXPECT_EQ(run(engine), all);
    EXPECT_EQ(engine.instructions(), all);
}

TEST_F(JitCounting, TheUnitEnteredLastIsShown) {
    jit::EngineOptions wanted = options(jit::Counting::bounded);
    wanted.dump = jit::UnitDumpRequest{.parts = {}, .address = 0, .keep_all = true};
    jit::Engine engine(b.memory, b.log, wanted);
    b.gpr(rcx) = 1'000;
    b.program({0x48, 0x01, 0xC8, 0x48, 0xFF, 0xC9, 0x75, 0xF8, 0xF4}); // ADD RAX, RCX; DEC RCX; JNZ; HLT
    EXPECT_EQ(engine.run(b.cpu(), 1'000'000), ExitReason::halted);
    const std::string text = engine.last_unit();
    for (const char* part : {"unit 6008", "guest code:", "hlt", "interpret_and_leave", "host code", "jmp"})
        EXPECT_NE(text.find(part), std::string::npos) << part << " in\n" << text;
}

TEST(UnitDumpRequest, WhatIsWrongIsSaid) {
    const auto parsed = jit::parse_unit_dump("host,guest@0x7c00");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->address, 0x7C00u);
    EXPECT_TRUE(parsed->parts.host && parsed->parts.guest && !parsed->parts.ir);
    const std::pair<const char*, const char*> wrong[] = {
        {"host", "no address"},        {"@1", "cannot be shown"},    {"host@", "not an address"},
        {"ir@0x", "not an address"},   {"ir@12z", "not an address"}, {"ir,ir@1", "twice"},
        {"code@1", "guest, ir, host"}, {"ir,@1", "cannot be shown"}, {"ir@99999999999999999999", "not an address"}};
    for (const auto& [text, says] : wrong) {
        const auto result = jit::parse_unit_dump(text);
        ASSERT_FALSE(result) << text;
        EXPECT_NE(result.error().message.find(says), std::string::npos) << result.error().message;
    }
}

} // namespace
} // namespace calque::cpu::testing
