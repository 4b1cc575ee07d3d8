// Segment loads, far transfers and call gates, the questions about selectors, the tables' registers.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

// MOV AX, selector; MOV Sreg, AX. Answers the vector taken, or -1 (and the HLT after it).
int load(Board& b, u8 sreg, u16 selector) {
    const u8 modrm = static_cast<u8>(0xC0 | sreg << 3);
    b.program({0x66, 0xB8, static_cast<u8>(selector), static_cast<u8>(selector >> 8), 0x8E, modrm, 0xF4});
    return b.run_to_handler(2);
}
constexpr u8 enc_es = 0, enc_cs = 1, enc_ss = 2, enc_ds = 3;

struct LoadCase {
    const char* what;
    u8 sreg;
    u16 selector;
    int vector;
    u32 error;
};

class SegmentLoad : public ::testing::TestWithParam<LoadCase> {};

TEST_P(SegmentLoad, FaultsAsTheManualSays) {
    const LoadCase& c = GetParam();
    Board b(Board::Mode::protected32);
    load(b, c.sreg, c.selector);
    b.run(1);
    if (c.vector < 0) {
        EXPECT_EQ(b.segment(c.sreg).selector, c.selector);
        return;
    }
    EXPECT_EQ(b.segment(cs).base + b.state().rip() - 1, b.handler(static_cast<unsigned>(c.vector)));
    if (c.vector != ud) {
        EXPECT_EQ(b.stacked32(0), c.error);
        EXPECT_EQ(b.stacked32(1), code_at + 4);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Protected, SegmentLoad,
    ::testing::Values(LoadCase{"null data", enc_ds, 0, -1, 0}, LoadCase{"null data with RPL", enc_es, 3, -1, 0},
                      LoadCase{"null stack", enc_ss, 0, gp, 0}, LoadCase{"code register", enc_cs, kernel_data, ud, 0},
                      LoadCase{"beyond the table", enc_ds, 0x200, gp, 0x200},
                      LoadCase{"local without a table", enc_ds, 0x0C, gp, 0x0C},
                      LoadCase{"not present data", enc_ds, absent_data, np, absent_data},
                      LoadCase{"not present stack", enc_ss, absent_data, ss_fault, absent_data},
                      LoadCase{"read-only stack", enc_ss, read_only_data, gp, read_only_data},
                      LoadCase{"stack of level 3", enc_ss, user_data, gp, user_data & 0xFFFC},
                      LoadCase{"stack with wrong RPL", enc_ss, kernel_data | 1, gp, kernel_data},
                      LoadCase{"readable code as data", enc_ds, kernel_code, -1, 0},
                      LoadCase{"execute-only code as data", enc_ds, execute_only_code, gp, execute_only_code},
                      LoadCase{"system descriptor", enc_ds, ldt_selector, gp, ldt_selector},
                      LoadCase{"RPL above DPL", enc_ds, kernel_data | 3, gp, kernel_data},
                      LoadCase{"conforming code with any RPL", enc_ds, conforming_code | 3, -1, 0}),
    [](const auto& info) {
        std::string name = info.param.what;
        for (char& c : name)
            if (!isalnum(static_cast<unsigned char>(c))) c = '_';
        return name;
    });

TEST(SystemSegments, AccessedBitIsSetInMemory) {
    Board b(Board::Mode::protected32);
    EXPECT_EQ(load(b, enc_ds, read_only_data), -1);
    EXPECT_TRUE(b.gdt_entry(read_only_data) >> 40 & 1);
    EXPECT_TRUE(b.segment(ds).rights & 1);
}

TEST(SystemSegments, LimitsAndRightsOfAccesses) {
    Board b(Board::Mode::protected32);
    load(b, enc_ds, read_only_data);
    b.program({0xA2, 0, 0x80, 0, 0, 0xF4}); // MOV [8000h], AL
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), 0u);

    Board down(Board::Mode::protected32);
    load(down, enc_ds, expand_down_data);
    down.program({0xA0, 0x00, 0xA0, 0, 0, 0xA0, 0xFF, 0x9F, 0, 0}); // MOV AL, [0A000h]; MOV AL, [9FFFh]
    EXPECT_EQ(down.run_to_handler(), gp);
    EXPECT_EQ(down.stacked32(1), code_at + 5);

    Board null(Board::Mode::protected32);
    load(null, enc_ds, 0);
    null.program({0xA0, 0, 0x80, 0, 0});
    EXPECT_EQ(null.run_to_handler(), gp);

    Board stack(Board::Mode::protected32);
    stack.segment(ss).limit = 0xBFFF;
    stack.gpr(rbp) = 0xBFFE;
    stack.set_idt(ss_fault, gate(kernel_code, stack.handler(ss_fault), 0xE, 0));
    stack.program({0x8B, 0x45, 0x00}); // MOV EAX, [EBP]
    EXPECT_EQ(stack.run_to_handler(), ss_fault);
}

TEST(SystemSegments, NullStackSegmentInLongMode) {
    Board b(Board::Mode::long64);
    b.program({0x31, 0xC0, 0x8E, 0xD0, 0xF4}); // XOR EAX, EAX; MOV SS, EAX
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.segment(ss).selector, 0);
    EXPECT_EQ(b.cpu().mode.cpl, 0);

    Board user(Board::Mode::long64);
    user.enter_user();
    user.program({0xB8, 3, 0, 0, 0, 0x8E, 0xD0});
    EXPECT_EQ(user.run_to_handler(), gp);
}

TEST(SystemSegments, LoadFarPointer) {
    Board b(Board::Mode::protected32);
    b.poke<u32>(data_at, 0x11223344);
    b.poke<u16>(data_at + 4, user_data);
    b.program({0xC4, 0x1D, 0x00, 0x80, 0, 0, 0xF4}); // LES EBX, [8000h]
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 0x11223344u);
    EXPECT_EQ(b.segment(es).selector, user_data);

    Board bad(Board::Mode::protected32);
    bad.poke<u16>(data_at + 4, 0x200);
    bad.gpr(rbx) = 7;
    bad.program({0xC4, 0x1D, 0x00, 0x80, 0, 0});
    EXPECT_EQ(bad.run_to_handler(), gp);
    EXPECT_EQ(bad.gpr(rbx), 7u); // Nothing is loaded when the selector faults.
}

TEST(SystemSegments, PopOfAFaultingSelectorLeavesTheStack) {
    Board b(Board::Mode::protected32);
    b.program({0x68, 0x00, 0x02, 0, 0, 0x1F}); // PUSH 200h; POP DS
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 4 - 16);
    EXPECT_EQ(b.stacked32(1), code_at + 5);
}

TEST(SystemSegments, FarJumpToCode) {
    Board b(Board::Mode::protected32);
    b.bytes(second_code_at, {0xF4});
    b.program({0xEA, 0, 0x70, 0, 0, 0x48, 0}); // JMP 48h:7000h (conforming)
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.segment(cs).selector, conforming_code);
    EXPECT_EQ(b.state().rip(), second_code_at + 1);

    for (const auto& [selector, vector, error] : {std::tuple<u16, int, u32>{0, gp, 0},
                                                  {kernel_data, gp, kernel_data},
                                                  {absent_code, np, absent_code},
                                                  {user_code, gp, user_code & 0xFFFC},
                                                  {ldt_selector, gp, ldt_selector},
                                                  {0x300, gp, 0x300}}) {
        Board bad(Board::Mode::protected32);
        bad.program({0xEA, 0, 0x70, 0, 0, static_cast<u8>(selector), static_cast<u8>(selector >> 8)});
        EXPECT_EQ(bad.run_to_handler(), vector) << selector;
        EXPECT_EQ(bad.stacked32(0), error);
        EXPECT_EQ(bad.stacked32(1), code_at);
    }
}

TEST(SystemSegments, FarJumpBeyondTheLimit) {
    Board b(Board::Mode::protected32);
    b.program({0xEA, 0, 0, 1, 0, 0x98, 0}); // JMP 98h:10000h, a segment of 64 KiB
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), 0u);
}

TEST(SystemSegments, FarCallAndReturn) {
    Board b(Board::Mode::protected32);
    b.bytes(second_code_at, {0xCB});
    b.program({0x9A, 0, 0x70, 0, 0, 0x08, 0, 0xF4}); // CALL 8:7000h; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), code_at + 8);
    EXPECT_EQ(b.gpr(rsp), kernel_stack);
    EXPECT_EQ(b.peek<u32>(kernel_stack - 4), kernel_code);
    EXPECT_EQ(b.peek<u32>(kernel_stack - 8), code_at + 7);
}

TEST(SystemSegments, CallGateWithParametersToAnInnerLevel) {
    Board b(Board::Mode::protected32);
    b.set_gdt(gate_selector, gate(kernel_code, second_code_at, 0xC, 3, 2));
    b.enter_user();
    b.gpr(rsp) = user_stack - 8;
    b.poke<u32>(user_stack - 8, 0xAAAA);
    b.poke<u32>(user_stack - 4, 0xBBBB);
    b.bytes(second_code_at, {0xF4});
    b.program({0x9A, 0, 0, 0, 0, 0x83, 0}); // CALL 83h:0
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.segment(cs).selector, kernel_code);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 24);
    EXPECT_EQ(b.stacked32(0), code_at + 7);
    EXPECT_EQ(b.stacked32(1), user_code);
    EXPECT_EQ(b.stacked32(2), 0xAAAAu);
    EXPECT_EQ(b.stacked32(3), 0xBBBBu);
    EXPECT_EQ(b.stacked32(4), user_stack - 8);
    EXPECT_EQ(b.stacked32(5), user_data);

    // RETF 8 goes back and releases the parameters on both stacks; the kernel's segments become null.
    b.segment(es) = b.cached(kernel_data);
    b.bytes(user_stack, {0});
    b.bytes(code_at + 7, {0x0F, 0x0B});
    b.program({0xCA, 8, 0}, second_code_at);
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.stacked32(0), code_at + 7);
    EXPECT_EQ(b.stacked32(3), user_stack);
    EXPECT_FALSE(b.segment(es).present());
    EXPECT_EQ(b.segment(ds).selector, user_data);
}

TEST(SystemSegments, CallGateChecks) {
    const auto call = [](Board& b) {
        b.enter_user();
        b.program({0x9A, 0, 0, 0, 0, 0x83, 0});
        return b.run_to_handler();
    };
    Board low(Board::Mode::protected32);
    low.set_gdt(gate_selector, gate(kernel_code, second_code_at, 0xC, 0));
    EXPECT_EQ(call(low), gp);
    EXPECT_EQ(low.stacked32(0), gate_selector);

    Board absent(Board::Mode::protected32);
    absent.set_gdt(gate_selector, gate(kernel_code, second_code_at, 0xC, 3) & ~(u64{0x80} << 40));
    EXPECT_EQ(call(absent), np);
    EXPECT_EQ(absent.stacked32(0), gate_selector);

    Board data(Board::Mode::protected32);
    data.set_gdt(gate_selector, gate(kernel_data, second_code_at, 0xC, 3));
    EXPECT_EQ(call(data), gp);
    EXPECT_EQ(data.stacked32(0), kernel_data);

    Board null(Board::Mode::protected32);
    null.set_gdt(gate_selector, gate(0, second_code_at, 0xC, 3));
    EXPECT_EQ(call(null), gp);
    EXPECT_EQ(null.stacked32(0), 0u);
}

TEST(SystemSegments, SixteenBitCallGate) {
    Board b(Board::Mode::protected32);
    b.set_gdt(gate_selector, gate(kernel_code, 0x12340000 | second_code_at, 4, 3, 1));
    b.enter_user();
    b.gpr(rsp) = user_stack - 2;
    b.poke<u16>(user_stack - 2, 0xCCCC);
    b.bytes(second_code_at, {0xF4});
    b.program({0x9A, 0, 0, 0, 0, 0x83, 0});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), second_code_at + 1); // Bits 31:16 of the offset do not count.
    EXPECT_EQ(b.stacked16(0), code_at + 7);
    EXPECT_EQ(b.stacked16(1), user_code);
    EXPECT_EQ(b.stacked16(2), 0xCCCC);
    EXPECT_EQ(b.stacked16(3), user_stack - 2);
}

TEST(SystemSegments, LongModeCallGate) {
    Board b(Board::Mode::long64);
    b.set_gdt(gate_selector, gate(kernel_code, second_code_at, 0xC, 3));
    b.set_gdt(gate_selector + 8, 0);
    b.enter_user();
    b.poke<u32>(data_at, 0);
    b.poke<u16>(data_at + 4, gate_selector | 3);
    b.bytes(second_code_at, {0xF4});
    b.program({0xFF, 0x1C, 0x25, 0x00, 0x80, 0, 0}); // CALL FAR [8000h]
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 32);
    EXPECT_EQ(b.stacked64(0), code_at + 7);
    EXPECT_EQ(b.stacked64(1), user_code);
    EXPECT_EQ(b.stacked64(2), user_stack);
    EXPECT_EQ(b.stacked64(3), user_data);
    EXPECT_EQ(b.segment(ss).selector, 0);
}

TEST(SystemSegments, FarReturnCannotGoInward) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.program({0x6A, 0x08, 0x68, 0, 0x70, 0, 0, 0xCB}); // PUSH 8; PUSH 7000h; RETF
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), kernel_code);
}

TEST(SystemSegments, LarAndLsl) {
    Board b(Board::Mode::protected32);
    b.program({0x66, 0xB8, 0x10, 0, 0x0F, 0x02, 0xD8, 0x0F, 0x03, 0xC8, 0xF4}); // LAR EBX, EAX; LSL ECX, EAX
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 0x00CF9200u);
    EXPECT_EQ(b.gpr(rcx), 0xFFFFFFFFu);
    EXPECT_TRUE(zf(b.state().lazy));

    Board beyond(Board::Mode::protected32);
    beyond.gpr(rbx) = 5;
    beyond.program({0x66, 0xB8, 0, 3, 0x0F, 0x02, 0xD8, 0xF4});
    EXPECT_EQ(beyond.run(), ExitReason::halted);
    EXPECT_FALSE(zf(beyond.state().lazy));
    EXPECT_EQ(beyond.gpr(rbx), 5u);

    Board user(Board::Mode::protected32); // A segment that level 3 may not see.
    user.enter_user();
    user.program({0x66, 0xB8, 0x10, 0, 0x0F, 0x02, 0xD8, 0x0F, 0x0B});
    EXPECT_EQ(user.run_to_handler(), ud);
    EXPECT_FALSE(user.stacked32(2) & flag_zf);
}

TEST(SystemSegments, VerrVerw) {
    Board b(Board::Mode::protected32);
    const auto ask = [&](u8 modrm, u16 selector) {
        b.program({0x66, 0xB8, static_cast<u8>(selector), 0, 0x0F, 0x00, modrm, 0xF4});
        b.run();
        return zf(b.state().lazy);
    };
    constexpr u8 verr = 0xE0, verw = 0xE8;
    EXPECT_TRUE(ask(verr, kernel_data));
    EXPECT_TRUE(ask(verw, kernel_data));
    EXPECT_TRUE(ask(verr, read_only_data));
    EXPECT_FALSE(ask(verw, read_only_data));
    EXPECT_FALSE(ask(verr, execute_only_code));
    EXPECT_FALSE(ask(verw, kernel_code));
    EXPECT_FALSE(ask(verr, tss_selector));
    EXPECT_FALSE(ask(verr, 0));
}

TEST(SystemSegments, Arpl) {
    Board b(Board::Mode::protected32);
    b.program({0x66, 0xB8, 0x10, 0, 0x66, 0xBB, 0x23, 0, 0x63, 0xD8, 0xF4}); // MOV AX, 10h; MOV BX, 23h; ARPL AX, BX
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax) & 0xFFFF, 0x13u);
    EXPECT_TRUE(zf(b.state().lazy));
}

TEST(SystemSegments, TableRegisters) {
    Board b(Board::Mode::protected32);
    b.poke<u16>(data_at, 0x1234);
    b.poke<u32>(data_at + 2, 0xABCDEF01);
    b.program({0x0F, 0x01, 0x1D, 0, 0x80, 0, 0, 0x0F, 0x01, 0x0D, 0x10, 0x80, 0, 0, 0xF4}); // LIDT; SIDT [8010h]
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().idtr.limit, 0x1234);
    EXPECT_EQ(b.state().idtr.base, 0xABCDEF01u);
    EXPECT_EQ(b.peek<u16>(data_at + 0x10), 0x1234);
    EXPECT_EQ(b.peek<u32>(data_at + 0x12), 0xABCDEF01u);

    Board small(Board::Mode::protected32);
    small.poke<u32>(data_at + 2, 0xABCDEF01);
    small.program({0x66, 0x0F, 0x01, 0x15, 0, 0x80, 0, 0, 0xF4}); // o16 LGDT: 24 bits of base
    EXPECT_EQ(small.run(), ExitReason::halted);
    EXPECT_EQ(small.state().gdtr.base, 0xCDEF01u);
}

TEST(SystemSegments, UmipForbidsTheTablesToUsers) {
    for (const auto& code : {std::array<u8, 3>{0x0F, 0x01, 0x00},
                             {0x0F, 0x00, 0xC0},
                             {0x0F, 0x00, 0xC8},
                             {0x0F, 0x01, 0xE0}}) { // SGDT [EAX], SLDT EAX, STR EAX, SMSW EAX
        Board b(Board::Mode::protected32);
        b.state().cr4 |= cr4_umip;
        b.enter_user();
        b.gpr(rax) = data_at;
        b.program({code[0], code[1], code[2]});
        EXPECT_EQ(b.run_to_handler(), gp);

        Board free(Board::Mode::protected32);
        free.enter_user();
        free.gpr(rax) = data_at;
        free.program({code[0], code[1], code[2], 0x0F, 0x0B});
        EXPECT_EQ(free.run_to_handler(), ud);
    }
}

TEST(SystemSegments, LoadTaskRegisterAndLocalTable) {
    Board b(Board::Mode::protected32);
    b.program({0x66, 0xB8, 0x70, 0, 0x0F, 0x00, 0xD8, 0x66, 0xB8, 0x38, 0, 0x0F, 0x00, 0xD0, 0xF4}); // LTR; LLDT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.segment(tr).selector, tss2_selector);
    EXPECT_EQ(b.segment(tr).base, tss2_at);
    EXPECT_EQ(b.gdt_entry(tss2_selector) >> 40 & 0xF, 0xBu); // Busy.
    EXPECT_EQ(b.segment(ldtr).base, ldt_at);

    b.program({0x66, 0xB8, 0x70, 0, 0x0F, 0x00, 0xD8}); // Busy now.
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), tss2_selector);
}

TEST(SystemSegments, LocalDescriptors) {
    Board b(Board::Mode::protected32);
    b.poke<u64>(ldt_at + 8, descriptor(0x5000, 0xFF, 0x0092));
    b.segment(ldtr) = {ldt_selector, 0x82, 0x7F, ldt_at};
    EXPECT_EQ(load(b, enc_ds, 0x0C), -1);
    EXPECT_EQ(b.segment(ds).base, 0x5000u);
    EXPECT_EQ(b.segment(ds).limit, 0xFFu);
}

} // namespace
} // namespace calque::cpu::testing
