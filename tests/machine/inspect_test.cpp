#include "frontend/machine/inspect.h"
#include "tests/cpu/harness.h"

#include <gtest/gtest.h>

using namespace calque;
using namespace calque::cpu::testing;
using cpu::testing::Machine;
using machine::AddressSpace;

namespace {

TEST(Inspect, PeeksThroughTheTablesAsFarAsThereIsMemory) {
    Machine m(Machine::Kind::long64);
    m.poke(data_base, u64{0x1122334455667788});
    u8 bytes[8] = {};
    EXPECT_EQ(machine::peek(m.cpu(), m.memory, AddressSpace::linear, data_base, bytes), 8u);
    EXPECT_EQ(bytes[0], 0x88);
    EXPECT_EQ(bytes[7], 0x11);
    EXPECT_EQ(machine::peek(m.cpu(), m.memory, AddressSpace::linear, arena_base + arena_size - 3, bytes), 3u);
    EXPECT_EQ(machine::peek(m.cpu(), m.memory, AddressSpace::linear, u64{1} << 60, bytes), 0u) << "not canonical";
    EXPECT_EQ(machine::peek(m.cpu(), m.memory, AddressSpace::physical, arena_base + arena_size, bytes), 0u);
}

TEST(Inspect, LeavesNoAccessedBits) {
    Machine m(Machine::Kind::long64);
    std::vector<u8> before(low_size), after(low_size);
    ASSERT_EQ(machine::peek(m.cpu(), m.memory, AddressSpace::physical, 0, before), low_size);
    u8 byte = 0;
    ASSERT_EQ(machine::peek(m.cpu(), m.memory, AddressSpace::linear, data_base, {&byte, 1}), 1u);
    ASSERT_EQ(machine::peek(m.cpu(), m.memory, AddressSpace::physical, 0, after), low_size);
    EXPECT_EQ(before, after);
}

TEST(Inspect, DisassemblesInTheModeOfTheProcessor) {
    for (const auto& [kind, expected] :
         {std::pair{Machine::Kind::long64, "mov rbx, rax"}, std::pair{Machine::Kind::compat32, "dec eax"},
          std::pair{Machine::Kind::compat16, "dec ax"}}) {
        Machine m(kind);
        m.poke(data_base, u32{0x90C38948});
        const auto lines = machine::disassemble(m.cpu(), m.memory, AddressSpace::linear, data_base, 2);
        ASSERT_EQ(lines.size(), 2u);
        EXPECT_NE(lines[0].find(expected), std::string::npos) << lines[0];
    }
}

TEST(Inspect, DisassemblyEndsWithTheMemory) {
    Machine m(Machine::Kind::long64);
    m.poke(arena_base + arena_size - 2, u16{0x9090});
    EXPECT_EQ(machine::disassemble(m.cpu(), m.memory, AddressSpace::linear, arena_base + arena_size - 2, 5).size(), 2u);
}

TEST(Inspect, RegistersByName) {
    Machine m(Machine::Kind::long64);
    m.state().gpr[cpu::rax] = 5;
    m.state().rip() = 0x1234;
    EXPECT_EQ(machine::register_value(m.cpu(), "rax"), 5u);
    EXPECT_EQ(machine::register_value(m.cpu(), "pc"), 0x1234u);
    EXPECT_FALSE(machine::register_value(m.cpu(), "xax"));
}

} // namespace
