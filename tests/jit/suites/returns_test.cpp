// Calls and returns, of which translated code notes where they lead back to.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u32 rounds = 2000;

TEST(JitReturns, ToAPageThatWasMappedElsewhereMeanwhile) {
    Board b(Board::Mode::long64);
    constexpr u64 caller = 0x40'0000, table = page_tables + 0x4000, called = 0x9000;
    b.poke<u64>(page_tables + 0x2000 + (caller >> 21) * 8, table | 7);
    b.poke<u64>(table, 0x6000 | 7);
    // CALL; INC EAX (or, on the other page, EBX); DEC ECX; JNZ to the CALL; HLT
    for (const u64 page : {0x6000, 0x7000}) {
        b.bytes(page, {0xE8, 0xFB, 0x8F, 0xC0, 0xFF, 0xFF, 0xC0, 0xFF, 0xC9, 0x75, 0xF5, 0xF4});
        b.poke<u8>(page + 6, page == 0x6000 ? 0xC0 : 0xC3);
    }
    // CMP ECX, 1000; JNE to the RET; MOV DWORD [table], 7007h; INVLPG [caller]; RET
    b.bytes(called, {0x81, 0xF9, 0xE8, 0x03, 0x00, 0x00, 0x75, 0x13, 0xC7, 0x04, 0x25, 0x00, 0x00, 0x00,
                     0x00, 0x07, 0x70, 0x00, 0x00, 0x0F, 0x01, 0x3C, 0x25, 0x00, 0x00, 0x40, 0x00, 0xC3});
    b.poke<u32>(called + 11, static_cast<u32>(table));
    b.gpr(rax) = b.gpr(rbx) = 0;
    b.gpr(rcx) = rounds;
    b.state().rip() = caller;
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), rounds / 2);
    EXPECT_EQ(b.gpr(rbx), rounds / 2);
}

TEST(JitReturns, ElsewhereThanTheyWereCalledFrom) {
    Board b(Board::Mode::long64);
    b.gpr(rax) = b.gpr(rbx) = 0;
    b.gpr(rcx) = rounds;
    // CALL f; INC EAX; JMP next; INC EBX; next: DEC ECX; JNZ to the CALL; HLT;
    // f: TEST CL, 1; JZ to the RET; ADD QWORD [RSP], 4; RET
    b.program({0xE8, 0x0B, 0x00, 0x00, 0x00, 0xFF, 0xC0, 0xEB, 0x02, 0xFF, 0xC3, 0xFF, 0xC9, 0x75,
               0xF1, 0xF4, 0xF6, 0xC1, 0x01, 0x74, 0x05, 0x48, 0x83, 0x04, 0x24, 0x04, 0xC3});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), rounds / 2);
    EXPECT_EQ(b.gpr(rbx), rounds / 2);
}

// Where nothing is noted there is address 0, which code may return to as well.
TEST(JitReturns, ToAddressNull) {
    Board b(Board::Mode::long64);
    b.bytes(0, {0xFF, 0xC0, 0xFF, 0xC9, 0x75, 0x01, 0xF4, 0x6A, 0x00, 0xC3}); // INC EAX; DEC ECX; JNZ; HLT; PUSH 0; RET
    b.gpr(rax) = 0;
    b.gpr(rcx) = rounds;
    b.program({0x6A, 0x00, 0xC3}); // PUSH 0; RET
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), rounds);
    EXPECT_EQ(b.state().rip(), 7u);
}

// More calls under way than there are notes.
TEST(JitReturns, FromDeepRecursion) {
    Board b(Board::Mode::long64);
    b.gpr(rax) = 0;
    // MOV EDX, 20; again: MOV ECX, 300; CALL f; DEC EDX; JNZ again; HLT;
    // f: DEC ECX; JZ to the RET; CALL f; INC EAX; RET
    b.program({0xBA, 0x14, 0x00, 0x00, 0x00, 0xB9, 0x2C, 0x01, 0x00, 0x00, 0xE8, 0x05, 0x00, 0x00, 0x00, 0xFF,
               0xCA, 0x75, 0xF2, 0xF4, 0xFF, 0xC9, 0x74, 0x07, 0xE8, 0xF7, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0, 0xC3});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 20u * 299);
}

} // namespace
} // namespace calque::cpu::testing
