// Known answers of integer instructions.
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>

namespace calque::cpu::testing {
namespace {

TEST(Integer, IncrementsARegister) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rax] = 5;
    EXPECT_FALSE(m.step({0x48, 0xFF, 0xC0}));
    EXPECT_EQ(m.state().gpr[rax], 6u);
    EXPECT_EQ(m.state().rip(), code_base + 3);
}

TEST(Integer, RunsALoop) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[rcx] = 1000;
    m.state().gpr[rax] = 0;
    // l: add rax, rcx; dec rcx; jnz l
    const u64 before = m.cpu().instructions;
    EXPECT_EQ(m.run({0x48, 0x01, 0xC8, 0x48, 0xFF, 0xC9, 0x75, 0xF8}, 3000), ExitReason::budget);
    EXPECT_EQ(m.state().gpr[rax], 500500u);
    EXPECT_EQ(m.cpu().instructions - before, 3000u);
    EXPECT_EQ(m.state().rip(), code_base + 8);
}

} // namespace
} // namespace calque::cpu::testing
