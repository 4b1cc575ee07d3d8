#include "jit/debug/disassembler.h"

#include <gtest/gtest.h>

using namespace calque;
using cpu::CodeSize;

namespace {

std::vector<std::string> texts(std::vector<u8> code, CodeSize size, u64 address = 0x1000, std::size_t most = 100) {
    std::vector<std::string> out;
    for (const auto& line : jit::disassemble(code, size, address, most))
        out.push_back(line.text);
    return out;
}
using Texts = std::vector<std::string>;

TEST(Disassembler, TheSameBytesByCodeSize) {
    const std::vector<u8> code{0xB8, 0x34, 0x12, 0x00, 0x00}; // MOV (E)AX, imm; with 16 bits, ADD follows.
    EXPECT_EQ(texts(code, CodeSize::bits64), Texts{"mov eax, 0x1234"});
    EXPECT_EQ(texts(code, CodeSize::bits32), Texts{"mov eax, 0x1234"});
    EXPECT_EQ(texts(code, CodeSize::bits16), (Texts{"mov ax, 0x1234", "add byte ptr [bx + si], al"}));
    EXPECT_EQ(texts({0x48, 0x89, 0xC3}, CodeSize::bits64), Texts{"mov rbx, rax"});
    EXPECT_EQ(texts({0x48, 0x89, 0xC3}, CodeSize::bits32), (Texts{"dec eax", "mov ebx, eax"}));
}

TEST(Disassembler, BranchTargetsFollowTheAddress) {
    EXPECT_EQ(texts({0xEB, 0xFE}, CodeSize::bits64, 0xFFFF'FFFF'8100'0000), Texts{"jmp 0xffffffff81000000"});
}

TEST(Disassembler, BytesThatAreNoInstructionOrEndInsideOne) {
    EXPECT_EQ(texts({0x06, 0x90}, CodeSize::bits64), (Texts{".byte 0x06", "nop"}));
    EXPECT_EQ(texts({0x90, 0x0F}, CodeSize::bits64), (Texts{"nop", ".byte 0x0f"}));
    EXPECT_TRUE(texts({}, CodeSize::bits64).empty());
}

TEST(Disassembler, StopsAfterTheLinesAskedFor) {
    EXPECT_EQ(texts({0x90, 0x90, 0x90}, CodeSize::bits64, 0, 2).size(), 2u);
    EXPECT_TRUE(texts({0x90}, CodeSize::bits64, 0, 0).empty());
}

TEST(Disassembler, ALineShowsAddressBytesAndText) {
    const auto lines = jit::disassemble(std::vector<u8>{0x48, 0x89, 0xC3}, CodeSize::bits64, 0x1000, 1);
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_EQ(lines[0].line(), "0x0000000000001000:  48 89 c3                       mov rbx, rax");
}

} // namespace
