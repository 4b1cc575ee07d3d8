// Delivery of exceptions and interrupts in real, protected and long mode; double faults; shutdown; IRET.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

TEST(SystemInterrupts, RealModePushesFlagsAndReturnAddress) {
    Board b(Board::Mode::real);
    b.state().rflags |= flag_if | flag_tf * 0;
    b.program({0xCD, 0x21}); // INT 21h
    EXPECT_EQ(b.run_to_handler(), 0x21);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 6);
    EXPECT_EQ(b.stacked16(0), code_at + 2);
    EXPECT_EQ(b.stacked16(1), 0);
    EXPECT_EQ(b.stacked16(2) & flag_if, flag_if);
    EXPECT_FALSE(b.state().rflags & flag_if);
    EXPECT_EQ(b.segment(cs).selector, handlers_at >> 4);
}

TEST(SystemInterrupts, RealModeFaultPointsAtTheInstructionAndPushesNoErrorCode) {
    Board b(Board::Mode::real);
    b.gpr(rbx) = 0xFFFF;
    b.program({0x8B, 0x07}); // MOV AX, [BX]: a word at FFFFh
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 6);
    EXPECT_EQ(b.stacked16(0), code_at);
}

TEST(SystemInterrupts, RealModeVectorBeyondTheTableShutsDown) {
    Board b(Board::Mode::real);
    b.state().idtr.limit = 3;
    b.program({0xCD, 0x21});
    EXPECT_EQ(b.run(), ExitReason::triple_fault);
    EXPECT_EQ(b.state().activity, Activity::shutdown);
}

TEST(SystemInterrupts, RealModeIretRestoresAll) {
    Board b(Board::Mode::real);
    b.bytes(b.handler(0x21), {0xCF});    // IRET
    b.program({0xF9, 0xCD, 0x21, 0xF4}); // STC; INT 21h; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), code_at + 4);
    EXPECT_EQ(b.gpr(rsp), kernel_stack);
    EXPECT_TRUE(cf(b.state().lazy));
}

TEST(SystemInterrupts, ProtectedSameLevelFrame) {
    Board b(Board::Mode::protected32);
    b.state().rflags |= flag_if;
    b.program({0x0F, 0x0B}); // UD2
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 12);
    EXPECT_EQ(b.stacked32(0), code_at);
    EXPECT_EQ(b.stacked32(1), kernel_code);
    EXPECT_EQ(b.stacked32(2), flag_one | flag_if | flag_rf); // RF: a fault.
    EXPECT_FALSE(b.state().rflags & (flag_if | flag_rf));
}

TEST(SystemInterrupts, TrapGateKeepsInterruptsOn) {
    Board b(Board::Mode::protected32);
    b.state().rflags |= flag_if;
    b.set_idt(0x80, gate(kernel_code, b.handler(0x80), 0xF, 0));
    b.program({0xCD, 0x80});
    EXPECT_EQ(b.run_to_handler(), 0x80);
    EXPECT_TRUE(b.state().rflags & flag_if);
    EXPECT_EQ(b.stacked32(0), code_at + 2);
    EXPECT_EQ(b.stacked32(2), flag_one | flag_if);
}

TEST(SystemInterrupts, SixteenBitGatePushesWords) {
    Board b(Board::Mode::protected32);
    b.set_idt(gp, gate(kernel_code, b.handler(gp), 6, 0));
    b.program({0x66, 0xB8, 0x50, 0x00, 0x8E, 0xD8}); // MOV AX, 50h; MOV DS, AX: not present
    b.set_idt(np, gate(kernel_code, b.handler(np), 6, 0));
    EXPECT_EQ(b.run_to_handler(), np);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 8);
    EXPECT_EQ(b.stacked16(0), absent_data); // Error code
    EXPECT_EQ(b.stacked16(1), code_at + 4);
    EXPECT_EQ(b.stacked16(2), kernel_code);
}

TEST(SystemInterrupts, StackSwitchFromUserMode) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.program({0xF4}); // HLT: #GP(0)
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 24);
    EXPECT_EQ(b.segment(ss).selector, kernel_data);
    EXPECT_EQ(b.cpu().mode.cpl, 0);
    EXPECT_EQ(b.stacked32(0), 0u);
    EXPECT_EQ(b.stacked32(1), code_at);
    EXPECT_EQ(b.stacked32(2), user_code);
    EXPECT_EQ(b.stacked32(4), user_stack);
    EXPECT_EQ(b.stacked32(5), user_data);
}

TEST(SystemInterrupts, SoftwareInterruptNeedsTheGatesPrivilege) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.program({0xCD, 0x80});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), 0x80u * 8 + 2); // IDT, not external.
    EXPECT_EQ(b.stacked32(1), code_at);

    Board open(Board::Mode::protected32);
    open.set_idt(0x80, gate(kernel_code, open.handler(0x80), 0xE, 3));
    open.enter_user();
    open.program({0xCD, 0x80});
    EXPECT_EQ(open.run_to_handler(), 0x80);
}

TEST(SystemInterrupts, HardwareEventIgnoresTheGatesPrivilegeAndSetsExt) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.state().rflags |= flag_if;
    b.platform.interrupt = 0x40;
    b.cpu().request(event_interrupt);
    b.program({0x90, 0x90, 0xF4});
    EXPECT_EQ(b.run_to_handler(), 0x40);

    Board absent(Board::Mode::protected32);
    absent.set_idt(0x40, gate(kernel_code, absent.handler(0x40), 0xE, 0) & ~(u64{0x80} << 40));
    absent.state().rflags |= flag_if;
    absent.platform.interrupt = 0x40;
    absent.cpu().request(event_interrupt);
    absent.program({0x90, 0xF4});
    EXPECT_EQ(absent.run_to_handler(), np);
    EXPECT_EQ(absent.stacked32(0), 0x40u * 8 + 3);
}

TEST(SystemInterrupts, GateToNullSelectorIsGeneralProtectionZero) {
    Board b(Board::Mode::protected32);
    b.set_idt(0x80, gate(0, b.handler(0x80), 0xE, 0));
    b.program({0xCD, 0x80});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), 0u);
}

TEST(SystemInterrupts, GateToNotPresentCode) {
    Board b(Board::Mode::protected32);
    b.set_idt(ud, gate(absent_code, b.handler(ud), 0xE, 0));
    b.program({0x0F, 0x0B});
    EXPECT_EQ(b.run_to_handler(), np);
    EXPECT_EQ(b.stacked32(0), absent_code | 1u); // External: not by a software interrupt.
    EXPECT_EQ(b.stacked32(1), code_at);
}

TEST(SystemInterrupts, ContributoryPairIsADoubleFault) {
    Board b(Board::Mode::protected32);
    b.set_idt(gp, 0);                                // #GP's gate is no gate.
    b.program({0x66, 0xB8, 0xFF, 0x0F, 0x8E, 0xD8}); // MOV AX, 0FFFh; MOV DS, AX
    EXPECT_EQ(b.run_to_handler(), df);
    EXPECT_EQ(b.stacked32(0), 0u);
    EXPECT_EQ(b.stacked32(1), code_at + 4);
}

TEST(SystemInterrupts, BenignFirstIsDeliveredSecondOnly) {
    Board b(Board::Mode::protected32);
    b.set_idt(ud, 0);
    b.program({0x0F, 0x0B});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), ud * 8u + 3);
}

TEST(SystemInterrupts, FaultInDoubleFaultShutsDown) {
    Board b(Board::Mode::protected32);
    b.set_idt(gp, 0);
    b.set_idt(df, 0);
    b.program({0x66, 0xB8, 0xFF, 0x0F, 0x8E, 0xD8});
    EXPECT_EQ(b.run(), ExitReason::triple_fault);
    EXPECT_EQ(b.state().rip(), code_at + 4);
}

TEST(SystemInterrupts, InnerStackThatIsNoStackIsInvalidTss) {
    Board b(Board::Mode::protected32);
    b.poke<u32>(tss_at + 8, user_data); // SS0 with DPL 3.
    b.set_idt(ts_fault, gate(task_gate_selector, 0, 5, 0));
    b.set_idt(df, gate(conforming_code, b.handler(df), 0xE, 0));
    b.set_idt(ts_fault, gate(conforming_code, b.handler(ts_fault), 0xE, 0));
    b.enter_user();
    b.program({0x0F, 0x0B});
    b.bytes(b.handler(ts_fault), {0xEB, 0xFE}); // HLT would fault at level 3.
    b.run(50);
    EXPECT_EQ(b.state().rip(), b.handler(ts_fault));
    EXPECT_EQ(b.cpu().mode.cpl, 3);
    EXPECT_EQ(b.stacked32(0), (user_data & 0xFFFCu) | 1);
}

TEST(SystemInterrupts, PageFaultSetsCr2AndErrorCode) {
    Board b(Board::Mode::long64);
    b.enter_user();
    b.program({0x48, 0xA1, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0}); // MOV RAX, [12345678h]
    EXPECT_EQ(b.run_to_handler(), pf);
    EXPECT_EQ(b.state().cr2, 0x12345678u);
    EXPECT_EQ(b.stacked64(0), 4u); // User, read, not present.
    EXPECT_EQ(b.stacked64(1), code_at);
}

TEST(SystemInterrupts, LongModeAlignsTheStackAndPushesFiveElements) {
    Board b(Board::Mode::long64);
    b.gpr(rsp) = kernel_stack - 5;
    b.program({0x0F, 0x0B});
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 16 - 40);
    EXPECT_EQ(b.stacked64(0), code_at);
    EXPECT_EQ(b.stacked64(1), kernel_code);
    EXPECT_EQ(b.stacked64(3), kernel_stack - 5);
    EXPECT_EQ(b.stacked64(4), kernel_data);
    EXPECT_EQ(b.segment(ss).selector, kernel_data); // No change of level: SS stays.
}

TEST(SystemInterrupts, LongModeFromUserLoadsNullStackSegment) {
    Board b(Board::Mode::long64);
    b.enter_user();
    b.program({0xCC}); // INT3: the gate's DPL is 0
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked64(0), 3u * 8 + 2);
    EXPECT_EQ(b.segment(ss).selector, 0);
    EXPECT_EQ(b.cpu().mode.cpl, 0);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 48);
    EXPECT_EQ(b.stacked64(5), user_data);
}

TEST(SystemInterrupts, InterruptStackTableIsUsedAtTheSameLevelToo) {
    Board b(Board::Mode::long64);
    b.set_idt(ud, gate(kernel_code, b.handler(ud), 0xE, 0, 1));
    b.program({0x0F, 0x0B});
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.gpr(rsp), ist_stack - 40);
    EXPECT_EQ(b.stacked64(3), kernel_stack);
}

TEST(SystemInterrupts, LongModeHandlerMustBe64BitCode) {
    Board b(Board::Mode::long64);
    b.set_idt(ud, gate(user_code32 & ~3, b.handler(ud), 0xE, 0));
    b.program({0x0F, 0x0B});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked64(0), (user_code32 & 0xFFFCu) | 1);
}

TEST(SystemInterrupts, NonCanonicalInnerStackIsAStackFaultOnTheWayToDoubleFault) {
    Board b(Board::Mode::long64);
    b.poke<u64>(tss_at + 4, 0x8000000000000000);
    b.set_idt(df, gate(kernel_code, b.handler(df), 0xE, 0, 1));
    b.enter_user();
    b.program({0xF4}); // #GP, then #SS
    EXPECT_EQ(b.run_to_handler(), df);
    EXPECT_EQ(b.gpr(rsp), ist_stack - 48);
}

TEST(SystemInterrupts, IretToUserAndBack) {
    Board b(Board::Mode::long64);
    b.gpr(rsp) = kernel_stack - 40;
    b.poke<u64>(kernel_stack - 40, second_code_at);
    b.poke<u64>(kernel_stack - 32, user_code);
    b.poke<u64>(kernel_stack - 24, flag_one | flag_if | flag_cf);
    b.poke<u64>(kernel_stack - 16, user_stack);
    b.poke<u64>(kernel_stack - 8, user_data);
    b.bytes(second_code_at, {0x0F, 0x0B});
    b.segment(gs).base = 0x1234;
    b.segment(gs).selector = 0;
    b.segment(gs).rights = 0;
    b.program({0x48, 0xCF}); // IRETQ
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.stacked64(0), second_code_at);
    EXPECT_EQ(b.stacked64(1), user_code);
    EXPECT_EQ(b.stacked64(2), flag_one | flag_if | flag_cf | flag_rf);
    EXPECT_EQ(b.stacked64(3), user_stack);
    EXPECT_EQ(b.segment(gs).base, 0x1234u); // A null GS keeps its base.
    EXPECT_FALSE(b.segment(ds).present());  // The kernel's DS is not for level 3.
}

TEST(SystemInterrupts, IretToCompatibilityMode) {
    Board b(Board::Mode::long64);
    b.gpr(rsp) = kernel_stack - 40;
    b.poke<u64>(kernel_stack - 40, second_code_at);
    b.poke<u64>(kernel_stack - 32, user_code32);
    b.poke<u64>(kernel_stack - 24, flag_one);
    b.poke<u64>(kernel_stack - 16, user_stack);
    b.poke<u64>(kernel_stack - 8, user_data);
    b.bytes(second_code_at, {0x40, 0xF4}); // INC EAX (a REX prefix in 64-bit mode); HLT: #GP
    b.program({0x48, 0xCF});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked64(1), second_code_at + 1);
    EXPECT_EQ(b.gpr(rax), 1u);
}

TEST(SystemInterrupts, IretWithNestedTaskInLongModeIsGeneralProtection) {
    Board b(Board::Mode::long64);
    b.state().rflags |= flag_nt;
    b.program({0x48, 0xCF});
    EXPECT_EQ(b.run_to_handler(), gp);
}

TEST(SystemInterrupts, IretCannotRaisePrivilege) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.gpr(rsp) = user_stack - 12;
    b.poke<u32>(user_stack - 12, second_code_at);
    b.poke<u32>(user_stack - 8, kernel_code);
    b.poke<u32>(user_stack - 4, flag_one);
    b.program({0xCF});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), kernel_code);
}

TEST(SystemInterrupts, UserIretChangesNeitherIoplNorInterruptFlag) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.gpr(rsp) = user_stack - 12;
    b.poke<u32>(user_stack - 12, second_code_at);
    b.poke<u32>(user_stack - 8, user_code);
    b.poke<u32>(user_stack - 4, static_cast<u32>(flag_one | flag_iopl | flag_if | flag_df));
    b.bytes(second_code_at, {0x0F, 0x0B});
    b.program({0xCF});
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.stacked32(2) & (flag_iopl | flag_if | flag_df), flag_df);
}

TEST(SystemInterrupts, ShutdownOfAnEmptyInterruptTable) {
    Board b(Board::Mode::long64);
    b.state().idtr.limit = 0;
    b.program({0x0F, 0x0B});
    EXPECT_EQ(b.run(), ExitReason::triple_fault);
}

TEST(SystemInterrupts, IntoOnlyWithOverflow) {
    Board b(Board::Mode::protected32);
    b.program({0xCE, 0xB0, 0x7F, 0x04, 0x01, 0xCE}); // INTO; MOV AL, 7Fh; ADD AL, 1; INTO
    EXPECT_EQ(b.run_to_handler(), ov);
    EXPECT_EQ(b.stacked32(0), code_at + 6);
}

TEST(SystemInterrupts, Int1NeedsNoPrivilege) {
    Board b(Board::Mode::protected32);
    b.enter_user();
    b.program({0xF1});
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked32(0), code_at + 1);
    EXPECT_EQ(b.state().dr[6], 0xFFFF0FF0u);
}

} // namespace
} // namespace calque::cpu::testing
