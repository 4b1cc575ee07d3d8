// What the translator once did otherwise than the interpreter: the smallest programs, each named after what went wrong.
// They hold for every engine.
#include "jit/engine.h"
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

// Undefined flags are the host's in translated code, AMD's in the interpreter.
bool host_is_amd() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_is("amd");
#else
    return false;
#endif
}

constexpr u64 all_set = flag_cf | flag_pf | flag_af | flag_zf | flag_sf | flag_of;

TEST(JitRegressions, MultiplicationKeepsTheFlagsThatItLeavesUndefined) {
    if (!host_is_amd()) GTEST_SKIP() << "the host is another processor";
    Board b(Board::Mode::long64);
    b.gpr(rax) = 3, b.gpr(rbx) = 5;
    write_rflags(b.state(), flag_one | all_set);
    b.program({0x0F, 0xAF, 0xC3, 0xF4}); // IMUL EAX, EBX; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 15u);
    EXPECT_EQ(b.cpu().rflags() & all_set, flag_pf | flag_af | flag_zf | flag_sf);
    b.gpr(rax) = 3;
    write_rflags(b.state(), flag_one | all_set);
    b.program({0xF7, 0xE3, 0xF4}); // MUL EBX; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.cpu().rflags() & all_set, flag_pf | flag_af | flag_zf | flag_sf);
}

TEST(JitRegressions, DivisionKeepsCarryAndOverflow) {
    if (!host_is_amd()) GTEST_SKIP() << "the host is another processor";
    for (const u64 flags : {flag_cf | flag_of, u64{0}}) {
        Board b(Board::Mode::long64);
        b.gpr(rax) = 17, b.gpr(rdx) = 0, b.gpr(rbx) = 5;
        write_rflags(b.state(), flag_one | flags);
        b.program({0xF7, 0xF3, 0xF4}); // DIV EBX; HLT
        EXPECT_EQ(b.run(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rax), 3u);
        EXPECT_EQ(b.gpr(rdx), 2u);
        EXPECT_EQ(b.cpu().rflags() & (flag_cf | flag_of), flags);
    }
}

TEST(JitRegressions, AccumulatorExchangedWithItself) {
    Board b(Board::Mode::long64);
    b.gpr(rax) = 5, b.gpr(9) = 7;
    b.program({0x4C, 0x0F, 0xB1, 0xC8, 0xF4}); // CMPXCHG RAX, R9; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 7u);
}

TEST(JitRegressions, CallWhosePushCrossesAPageCallsOnce) {
    Board b(Board::Mode::long64);
    b.gpr(rsp) = 0xB001;
    b.program({0xE8, 0x01, 0x00, 0x00, 0x00, 0x90, 0xF4}); // CALL +1; NOP; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rsp), 0xAFF9u);
    EXPECT_EQ(b.state().rip(), code_at + 7);
    EXPECT_EQ(b.peek<u64>(0xAFF9), code_at + 5);
}

TEST(JitRegressions, FarJumpThroughMemoryKeepsItsDisplacement) {
    Board b(Board::Mode::long64);
    b.gpr(rbx) = data_at;
    b.poke<u32>(data_at + 0x40, second_code_at);
    b.poke<u16>(data_at + 0x44, kernel_code);
    b.bytes(second_code_at, {0xF4});
    b.program({0xFF, 0x6B, 0x40}); // JMP FAR [RBX+40h]
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), second_code_at + 1);
}

// Maps the first 2 MiB of memory at the end of the lower half too.
constexpr u64 upper = 0x7FFF'FFE0'0000;
void map_below_the_hole(Board& b) {
    b.poke<u64>(page_tables + 255 * 8, (page_tables + 0x3000) | 7);
    b.poke<u64>(page_tables + 0x3000 + 511 * 8, (page_tables + 0x4000) | 7);
    b.poke<u64>(page_tables + 0x4000 + 511 * 8, 0x87);
}

TEST(JitRegressions, JumpOutOfCanonicalSpaceFaultsWhereItStands) {
    for (const bool conditional : {false, true}) {
        Board b(Board::Mode::long64);
        map_below_the_hole(b);
        if (conditional)
            b.program({0x39, 0xC0, 0x0F, 0x84, 0xF0, 0xFF, 0xFF, 0x7F}); // CMP EAX, EAX; JZ +7FFFFFF0h
        else
            b.program({0x39, 0xC0, 0xE9, 0xF0, 0xFF, 0xFF, 0x7F}); // CMP EAX, EAX; JMP +7FFFFFF0h
        b.state().rip() = upper + code_at;
        EXPECT_EQ(b.run_to_handler(), gp) << conditional;
        EXPECT_EQ(b.stacked64(1), upper + code_at + 2) << conditional;
    }
}

TEST(JitRegressions, AnOperandRelativeToRipBeyondFourGibibytesIsNotTheOneBelow) {
    Board b(Board::Mode::long64);
    constexpr u64 below = 0xFFE0'0000, pdpt = page_tables + 0x1000, table = page_tables + 0x5000;
    b.poke<u64>(pdpt + 3 * 8, table | 7);
    b.poke<u64>(table + 511 * 8, 0x87); // FFE00000h: all there is.
    b.poke<u64>(pdpt + 4 * 8, (table + 0x1000) | 7);
    b.poke<u64>(table + 0x1000, (table + 0x2000) | 7);
    b.poke<u64>(table + 0x2000 + 8 * 8, 0x9007); // 100008000h: the page at 9000h.
    b.poke<u32>(0x8000, 100);
    b.poke<u32>(0x9000, 3);
    b.gpr(rbx) = 0;
    // MOV ECX, 20; L: MOV EAX, [RIP+201FF5h]; ADD EBX, EAX; DEC ECX; JNZ L; HLT
    b.program(
        {0xB9, 0x14, 0x00, 0x00, 0x00, 0x8B, 0x05, 0xF5, 0x1F, 0x20, 0x00, 0x01, 0xC3, 0xFF, 0xC9, 0x75, 0xF4, 0xF4});
    b.state().rip() = below + code_at;
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 60u);
}

TEST(JitRegressions, ByteShiftByThirtyTwoKeepsTheFlags) {
    Board b(Board::Mode::long64);
    b.gpr(rbx) = 1;
    write_rflags(b.state(), flag_one | all_set);
    b.program({0x48, 0xC0, 0xE3, 0x20, 0xF4}); // SHL BL, 32 with REX.W; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 1u);
    EXPECT_EQ(b.cpu().rflags() & all_set, all_set);
}

TEST(JitRegressions, ByteThatMakesAnInstructionUndefinedBelongsToItsBlock) {
    Board b(Board::Mode::long64);
    b.gpr(rax) = 0;
    // MOV BYTE [6080h], C0h; seven NOPs; FFh FFh, which becomes INC EAX; HLT
    b.program(
        {0xC6, 0x04, 0x25, 0x80, 0x60, 0x00, 0x00, 0xC0, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xFF, 0xFF, 0xF4},
        0x6070);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 1u);
    EXPECT_EQ(b.state().rip(), 0x6082u);
}

TEST(JitRegressions, MisalignedExchangeThatSharesItsCheckLeavesThePageClean) {
    Board b(Board::Mode::long64);
    // Pages of 4 KiB, so that the page of data has a dirty bit of its own.
    for (u64 n = 0; n < 256; ++n)
        b.poke<u64>(page_tables + 0x3000 + n * 8, n << page_shift | 3);
    b.poke<u64>(page_tables + 0x2000, (page_tables + 0x3000) | 7);
    b.cpu().mmu.flush_all(true);
    b.gpr(14) = data_at + 8;
    b.program({0xF0, 0x49, 0x0F, 0xC7, 0x0E, 0x49, 0x8B, 0x2E, 0xF4}); // LOCK CMPXCHG16B [R14]; MOV RBP, [R14]; HLT
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.peek<u64>(page_tables + 0x3000 + (data_at >> page_shift) * 8) & 0x60, 0u);
}

// Device memory from which code is fetched.
class CodeDevice final : public mmu::IoTarget {
  public:
    u64 read(PhysicalAddress address, unsigned) override {
        // INC RAX; CMP EAX, 100; JB -10; HLT
        static constexpr u8 code[] = {0x48, 0xFF, 0xC0, 0x83, 0xF8, 0x64, 0x72, 0xF8, 0xF4};
        const u64 at = address.value & 0xFFF;
        return at < sizeof code ? code[at] : 0;
    }
    void write(PhysicalAddress, u64, unsigned) override {}
};

TEST(JitRegressions, CodeInDeviceMemoryRuns) {
    Board b(Board::Mode::long64);
    CodeDevice device;
    std::vector<mmu::Region> regions = b.memory.regions();
    mmu::Region& region = regions.emplace_back();
    region.base = PhysicalAddress(0x180000);
    region.length = page_size;
    region.kind = mmu::RegionKind::io;
    region.target = &device;
    region.name = "device";
    b.memory.set_regions(regions);
    b.gpr(rax) = 0;
    b.state().rip() = 0x180000;
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 100u);
    b.memory.set_regions({regions.front()});
}

// The target's code was looked for before the return address was pushed, and run although that had overwritten it.
TEST(JitRegressions, ACallWhoseReturnAddressOverwritesItsTarget) {
    constexpr u64 call_at = code_at + 0xF2, target = code_at + 0x400;
    Board b(Board::Mode::long64);
    b.bytes(target, {0x48, 0xFF, 0xC3, 0xC3}); // INC RBX; RET
    b.gpr(rax) = target;
    b.gpr(rbx) = 0;
    b.gpr(rcx) = target + 8;
    b.gpr(rsp) = kernel_stack;
    // CALL RAX; MOV RSP, RCX; JMP -7. The lowest byte of the return address is that of HLT.
    b.program({0xFF, 0xD0, 0x48, 0x89, 0xCC, 0xEB, 0xF9}, call_at);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 1u);
    EXPECT_EQ(b.state().rip(), target + 1);
}

// How many pieces the engine makes of a REP, after each of which it could look at the code again, must not show.
TEST(JitRegressions, ARepThatOverwritesItselfGoesOnToItsEnd) {
    constexpr u64 below_code = code_at - 0x103, bytes = 0x18000, from = 0x50000;
    for (const u8 operation : {0xA4, 0xAA}) { // MOVSB, STOSB
        Board b(Board::Mode::long64);
        for (u64 at = from; at < from + bytes; at += 8)
            b.poke<u64>(at, 0xF4F4'F4F4'F4F4'F4F4);
        b.gpr(rax) = 0xF4;
        b.gpr(rcx) = bytes;
        b.gpr(rsi) = from;
        b.gpr(rdi) = below_code;
        b.program({0xF3, operation, 0x90}); // REP; NOP, which becomes a HLT as the REP does
        EXPECT_EQ(b.run(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rcx), 0u);
        EXPECT_EQ(b.gpr(rdi), below_code + bytes);
        EXPECT_EQ(b.state().rip(), code_at + 3);
    }
}

// The way back packed the flags, and those who stayed looked for them there.
TEST(JitRegressions, ALoopBackIntoAnotherPageKeepsTheFlagsOfThoseWhoStay) {
    Board b(Board::Mode::long64);
    constexpr u64 start = 0x6FF0;
    // again: MOV EDX, 10; eleven NOPs; page 7000h: CMP ECX, 1; LOOP again; SETE AL; HLT
    for (unsigned round = 0; round < 100; ++round) {
        b.gpr(rax) = 0;
        b.gpr(rcx) = 3;
        b.program({0xBA, 0x0A, 0x00, 0x00, 0x00, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
                   0x90, 0x90, 0x90, 0x83, 0xF9, 0x01, 0xE2, 0xEB, 0x0F, 0x94, 0xC0, 0xF4},
                  start);
        EXPECT_EQ(b.run(), ExitReason::halted);
        EXPECT_EQ(b.gpr(rax), 1u);
    }
}

} // namespace
} // namespace calque::cpu::testing
