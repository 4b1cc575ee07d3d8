// Code of 16 and of 32 bits: segments, limits, the sizes of addresses and of the stack, where they meet in one program.
// They hold for every engine.
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u16 code_rights = 0x409A, data_rights = 0x4092; // 32 bits, in bytes.

TEST(JitModes, ALoopOf16BitCodeIsLinkedAndStaysInside) {
    Board b(Board::Mode::real);
    b.gpr(rcx) = 0x1'2710;
    b.gpr(rax) = 0;
    b.program({0x40, 0xE2, 0xFD, 0xF4}); // INC AX; LOOP; HLT
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 0x2710u);
    EXPECT_EQ(b.gpr(rcx), 0x1'0000u);
    const auto* const jit = dynamic_cast<jit::Engine*>(&b.engine());
    if (!jit) return;
    EXPECT_GE(jit->cache_counters().links, 1u);
    EXPECT_LT(jit->counters().entries, 10u);
    EXPECT_EQ(jit->counters().interpreted, 1u); // HLT.
}

TEST(JitModes, AWalkEndsAtTheLimit) {
    Board b(Board::Mode::protected32);
    b.set_gdt(spare, descriptor(data_at, 0x102, data_rights));
    b.gpr(rbx) = 0;
    b.gpr(rax) = spare;
    b.program({0x8E, 0xD8, 0x8B, 0x03, 0x43, 0xEB, 0xFB}); // MOV DS, EAX; MOV EAX, [EBX]; INC EBX; JMP -5
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rbx), 0x100u);
    EXPECT_EQ(b.stacked32(1), code_at + 2);
}

TEST(JitModes, StoresNeedTheRightToWrite) {
    Board b(Board::Mode::protected32);
    b.gpr(rax) = read_only_data;
    b.poke<u32>(data_at, 5);
    b.program({0x8E, 0xD8, 0xA1, 0x00, 0x80, 0x00, 0x00, 0xA3, 0x00, 0x80, 0x00, 0x00}); // MOV DS; EAX, [8000h]; back
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rax), 5u);
    EXPECT_EQ(b.stacked32(1), code_at + 7);
}

TEST(JitModes, ExpandDownSegmentsEndBelow) {
    Board b(Board::Mode::protected32);
    b.gpr(rax) = expand_down_data;
    b.poke<u32>(0xA000, 7);
    b.program({0x8E, 0xD8, 0xA1, 0x00, 0xA0, 0x00, 0x00, 0x8B, 0x1D, 0xFF, 0x9F, 0x00, 0x00});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rax), 7u);
    EXPECT_EQ(b.stacked32(1), code_at + 7);
}

TEST(JitModes, ASegmentLoadedAmongAccessesCountsForTheNext) {
    Board b(Board::Mode::protected32);
    b.set_gdt(spare, descriptor(0x100, 0xFFFFF, data_rights));
    b.poke<u32>(data_at, 1);
    b.poke<u32>(data_at + 0x100, 2);
    b.gpr(rax) = spare;
    b.gpr(rbx) = data_at;
    b.program({0x8B, 0x0B, 0x8E, 0xD8, 0x8B, 0x13, 0xF4}); // MOV ECX, [EBX]; MOV DS, EAX; MOV EDX, [EBX]; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rcx), 1u);
    EXPECT_EQ(b.gpr(rdx), 2u);
}

TEST(JitModes, TheSameCodeInTwoCodeSegments) {
    Board b(Board::Mode::protected32);
    b.set_gdt(spare, descriptor(0x1000, 0xFFFFF, code_rights));
    b.bytes(code_at, {0xE8, 0x00, 0x00, 0x00, 0x00, 0x58, 0xCB});           // CALL +0; POP EAX; RETF
    b.program({0x9A, 0x00, 0x60, 0x00, 0x00, kernel_code, 0x00, 0x89, 0xC3, // CALL FAR; MOV EBX, EAX
               0x9A, 0x00, 0x50, 0x00, 0x00, spare, 0x00, 0xF4},            // CALL FAR; HLT
              second_code_at);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), code_at + 5);
    EXPECT_EQ(b.gpr(rax), code_at - 0x1000 + 5);
}

TEST(JitModes, AReturnBeyondTheLimitFaultsWhereItStands) {
    Board b(Board::Mode::protected32);
    b.set_gdt(spare, descriptor(code_at, 0x7FF, code_rights));
    b.segment(cs) = b.cached(spare);
    b.cpu().update_mode();
    b.program({0x68, 0x00, 0x08, 0x00, 0x00, 0xC3}); // PUSH 800h; RET
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(1), 5u);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 4 - 16);
}

TEST(JitModes, CodeThatRunsOffItsSegment) {
    Board b(Board::Mode::protected32);
    for (const u32 limit : {1u, 2u}) { // At the end of the second instruction, and in the third.
        b.set_gdt(spare, descriptor(code_at, limit, code_rights));
        b.segment(cs) = b.cached(spare);
        b.cpu().update_mode();
        b.gpr(rax) = 0;
        b.gpr(rsp) = kernel_stack;
        b.program({0x40, 0x40, 0x83, 0xC0, 0x01, 0xF4}); // INC EAX; INC EAX; ADD EAX, 1; HLT
        EXPECT_EQ(b.run_to_handler(), gp);
        EXPECT_EQ(b.gpr(rax), 2u);
        EXPECT_EQ(b.stacked32(1), 2u);
    }
}

TEST(JitModes, ANearJumpOf16BitsStaysBelow64K) {
    Board b(Board::Mode::protected32);
    b.bytes(second_code_at, {0xF4});
    b.program({0x66, 0xE9, 0xFC, 0x6F}, 0x1'0000); // JMP +6FFCh
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), second_code_at + 1);
}

TEST(JitModes, AStackOf16BitsIn32BitCodeWraps) {
    Board b(Board::Mode::protected32);
    b.segment(ss) = b.cached(data16);
    b.cpu().update_mode();
    b.gpr(rsp) = 0x1234'0002;
    b.gpr(rax) = 0x89AB'CDEF;
    b.program({0x66, 0x50, 0x50, 0x5B, 0x66, 0x5A, 0xF4}); // PUSH AX; PUSH EAX; POP EBX; POP DX; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.peek<u16>(0), 0xCDEFu);
    EXPECT_EQ(b.peek<u32>(0xFFFC), 0x89AB'CDEFu);
    EXPECT_EQ(b.gpr(rbx), 0x89AB'CDEFu);
    EXPECT_EQ(b.gpr(rdx) & 0xFFFF, 0xCDEFu);
    EXPECT_EQ(b.gpr(rsp), 0x1234'0002u);
}

TEST(JitModes, AddressesOf16And32BitsWrap) {
    Board b(Board::Mode::protected32);
    b.gpr(rbx) = 0xFFFF'F000;
    b.gpr(rsi) = 0x9008;
    b.poke<u32>(data_at + 8, 3);
    b.poke<u32>(data_at + 0x18, 4);
    b.program({0x8B, 0x04, 0x1E, 0x67, 0x8B, 0x48, 0x10, 0xF4}); // MOV EAX, [EBX+ESI]; MOV ECX, [BX+SI+10h]; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 3u);
    EXPECT_EQ(b.gpr(rcx), 4u);
}

TEST(JitModes, AccessesThatShareACheckAcrossTheEndOf4G) {
    Board b(Board::Mode::protected32);
    b.poke<u32>(0, 0x11);
    b.gpr(rbx) = 0xFFFF'FFFC;
    b.program({0x8B, 0x43, 0x04, 0x8B, 0x0B, 0xF4}); // MOV EAX, [EBX+4]; MOV ECX, [EBX]; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 0x11u);
    EXPECT_EQ(b.gpr(rcx), 0xFFFF'FFFFu); // No memory.
}

TEST(JitModes, AReadOverTheEndOf4GIsBeyondTheLimit) {
    Board b(Board::Mode::protected32);
    b.set_gdt(spare, descriptor(0x9000, 0xFFFFF, 0xC092));
    for (const u16 selector : {u16{kernel_data}, u16{spare}}) { // Flat, and with a base.
        b.gpr(rax) = selector;
        b.gpr(rbx) = 0xFFFF'FFFE;
        b.gpr(rsp) = kernel_stack;
        b.segment(ds) = b.cached(kernel_data);
        b.program({0x8E, 0xD8, 0x66, 0x8B, 0x0B, 0x8B, 0x0B, 0xF4}); // MOV DS, EAX; MOV CX, [EBX]; MOV ECX, [EBX]; HLT
        EXPECT_EQ(b.run_to_handler(), gp);
        EXPECT_EQ(b.stacked32(1), code_at + 5);
    }
}

TEST(JitModes, AReadAcrossPagesUnderAlignmentChecks) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.state().cr0 |= cr0_am;
    write_rflags(b.state(), flag_one | flag_ac);
    b.cpu().update_paging_context();
    b.gpr(rbx) = data_at + page_size - 1;
    b.program({0x66, 0x8B, 0x0B, 0xF4}); // MOV CX, [EBX]; HLT
    EXPECT_EQ(b.run_to_handler(), static_cast<int>(Vector::alignment_check));
}

TEST(JitModes, StringsGoDownAfterStd) {
    Board b(Board::Mode::real);
    b.poke<u32>(data_at, 0x4433'2211);
    b.gpr(rsi) = 0x1'0000 | (data_at + 3);
    b.gpr(rdi) = data_at + 0x13;
    // STD; MOVSB; LODSB; CLD; STOSB; STD; MOVSW; HLT
    b.program({0xFD, 0xA4, 0xAC, 0xFC, 0xAA, 0xFD, 0xA5, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax) & 0xFF, 0x33u);
    EXPECT_EQ(b.gpr(rsi), 0x1'0000 | (data_at - 1));
    EXPECT_EQ(b.gpr(rdi), data_at + 0x11);
    EXPECT_EQ(b.peek<u16>(data_at + 0x12), 0x2233u);
    EXPECT_EQ(b.peek<u16>(data_at + 0x13), 0x3322u);
}

TEST(JitModes, StringsGoUpAfterASystemCallThatClearsTheDirection) {
    Board b(Board::Mode::long64);
    CpuState& s = b.state();
    s.efer |= efer_sce;
    s.star = u64{kernel_code} << 32 | u64{kernel_data} << 48;
    s.lstar = second_code_at;
    s.fmask = flag_df;
    b.bytes(second_code_at, {0xAC, 0x48, 0x0F, 0x07}); // LODSB; SYSRETQ
    b.enter_user();
    b.cpu().update_mode();
    b.gpr(rbx) = 20;
    b.gpr(rsi) = data_at;
    b.program({0xFD, 0x0F, 0x05, 0xFF, 0xCB, 0x75, 0xF9, 0xF4}); // STD; SYSCALL; DEC EBX; JNZ -7; HLT
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rsi), data_at + 20);
}

TEST(JitModes, VzeroallOf32BitCodeKeepsTheUpperRegisters) {
    Board b(Board::Mode::protected32);
    b.state().cr4 |= cr4_osfxsr | cr4_osxsave;
    b.state().xcr0 = 7;
    b.cpu().update_mode();
    for (unsigned n = 0; n < 16; ++n)
        b.state().vector[n].q[2] = n + 1;
    b.program({0xC5, 0xFC, 0x77, 0xF4}); // VZEROALL; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    for (unsigned n = 0; n < 16; ++n)
        EXPECT_EQ(b.state().vector[n].q[2], n < 8 ? 0 : n + 1);
}

TEST(JitModes, ComputedJumpsOfTwoCodeSegmentsToTheSameCode) {
    Board b(Board::Mode::real);
    b.gpr(rsi) = 0;
    b.bytes(0x1'0000,
            {0xFF, 0xE3, 0xE8, 0x00, 0x00, 0x58, 0x01, 0xC6, 0xCB}); // JMP BX; CALL +0; POP AX; ADD SI, AX; RETF
    b.program({
        0xB9, 0x32, 0x00,             // MOV CX, 50
        0xBB, 0x02, 0x00,             // again: MOV BX, 2
        0x9A, 0x00, 0x00, 0x00, 0x10, // CALL 1000h:0
        0xBB, 0x02, 0x10,             // MOV BX, 1002h
        0x9A, 0x00, 0x10, 0x00, 0x0F, // CALL 0F00h:1000h
        0xE2, 0xEE, 0xF4              // LOOP again; HLT
    });
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(b.gpr(rsi) & 0xFFFF, 50 * (0x5u + 0x1005u) & 0xFFFF);
}

// POPF and POPFD in 16-bit code: bits that only the handler changes among them, and ones that a word does not have.
TEST(JitModes, PopfOfEachSize) {
    Board b(Board::Mode::real);
    b.gpr(rbx) = b.gpr(rdx) = 0;
    b.program({0xB9, 0x64, 0x00, // MOV CX, 100
               0x68, 0x40, 0x0C, 0x9D, 0x9C, 0x58, 0x01,
               0xC3, // again: PUSH C40h (OF, DF, ZF); POPF; PUSHF; POP AX; ADD BX, AX
               0x68, 0x91, 0x00, 0x9D, 0x9C, 0x58, 0x01,
               0xC3, // PUSH 91h (SF, AF, CF); POPF; PUSHF; POP AX; ADD BX, AX
               0x66, 0x68, 0x44, 0x00, 0x24, 0x00, 0x66,
               0x9D,                                     // PUSH 240044h (ID, AC, ZF, PF); POPFD
               0x66, 0x9C, 0x66, 0x58, 0x66, 0x01, 0xC2, // PUSHFD; POP EAX; ADD EDX, EAX
               0x66, 0x68, 0x01, 0x00, 0x02, 0x00, 0x66,
               0x9D,                                     // PUSH 20001h (VM, CF); POPFD
               0x66, 0x9C, 0x66, 0x58, 0x66, 0x01, 0xC2, // PUSHFD; POP EAX; ADD EDX, EAX
               0xE2, 0xD0, 0xF4});                       // LOOP again; HLT
    EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx) & 0xFFFF, 100 * (0xC42u + 0x93u) & 0xFFFF);
    EXPECT_EQ(static_cast<u32>(b.gpr(rdx)), 100 * (0x24'0046u + 3u));
}

// More than the translator has numbers for.
TEST(JitModes, OneLoopInThousandsOfCodeSegments) {
    Board b(Board::Mode::real);
    for (const u64 at : {0x3'0000u, 0x4'0000u, 0x5'0000u}) {
        b.gpr(rax) = 0;
        b.gpr(rbx) = (at >> 4) - 0xFFF;
        b.gpr(rcx) = 0xFF0;
        b.gpr(rdx) = 0xFFF0;
        // MOV SP; INC AX; INC BX; SUB DX, 16; PUSH BX; PUSH DX; DEC CX; JZ +1; RETF; HLT
        b.program({0xBC, 0x00, 0xC0, 0x40, 0x43, 0x83, 0xEA, 0x10, 0x53, 0x52, 0x49, 0x74, 0x01, 0xCB, 0xF4}, at);
        b.segment(cs) = {static_cast<u16>(b.gpr(rbx)), 0x93, 0xFFFF, b.gpr(rbx) << 4};
        b.state().rip() = 0xFFF0;
        EXPECT_EQ(b.run(~u64{0}), ExitReason::halted);
        EXPECT_EQ(b.gpr(rax), 0xFF0u);
    }
}

} // namespace
} // namespace calque::cpu::testing
