// SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, FS and GS bases.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u64 star_value = u64{0x18 | 3} << 48 | u64{kernel_code} << 32;

TEST(SystemFastCall, SyscallAndSysret) {
    Board b(Board::Mode::long64);
    b.state().star = star_value;
    b.state().lstar = second_code_at;
    b.state().fmask = flag_if | flag_df;
    b.enter_user();
    b.state().rflags |= flag_if | flag_df;
    b.bytes(second_code_at, {0x48, 0x0F, 0x07}); // SYSRETQ
    b.program({0xF9, 0x0F, 0x05, 0x0F, 0x0B});   // STC; SYSCALL; UD2
    EXPECT_EQ(b.run(2), ExitReason::budget);
    EXPECT_EQ(b.state().rip(), second_code_at);
    EXPECT_EQ(b.gpr(rcx), code_at + 3);
    EXPECT_EQ(b.gpr(11), flag_one | flag_if | flag_df | flag_cf);
    EXPECT_EQ(b.cpu().rflags(), flag_one | flag_cf);
    EXPECT_EQ(b.segment(cs).selector, kernel_code);
    EXPECT_EQ(b.segment(ss).selector, kernel_data);
    EXPECT_EQ(b.cpu().mode.cpl, 0);
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.stacked64(0), code_at + 3);
    EXPECT_EQ(b.stacked64(1), 0x18u + 16 + 3);
    EXPECT_EQ(b.stacked64(2), flag_one | flag_if | flag_df | flag_cf | flag_rf);
    EXPECT_EQ(b.stacked64(4), 0x18u + 8 + 3);
}

TEST(SystemFastCall, SysretToCompatibilityMode) {
    Board b(Board::Mode::long64);
    b.state().star = star_value;
    b.gpr(rcx) = 0xFFFFFFFF00000000 | code_at;
    b.gpr(11) = flag_one;
    b.bytes(code_at, {0x40, 0xCC}); // INC EAX; INT3
    b.program({0x0F, 0x07}, second_code_at);
    EXPECT_EQ(b.run(2), ExitReason::budget);
    EXPECT_EQ(b.cpu().mode.code_size, CodeSize::bits32);
    EXPECT_EQ(b.gpr(rax), 1u);
    EXPECT_EQ(b.segment(cs).selector, 0x1B);
}

TEST(SystemFastCall, SysretToNonCanonicalFaultsInTheKernel) {
    Board b(Board::Mode::long64);
    b.gpr(rcx) = u64{1} << 47;
    b.gpr(11) = flag_one;
    b.program({0x48, 0x0F, 0x07});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked64(2), kernel_code);
}

TEST(SystemFastCall, SyscallNeedsItsEnableAndLongMode) {
    Board off(Board::Mode::long64);
    off.state().efer &= ~efer_sce;
    off.program({0x0F, 0x05});
    EXPECT_EQ(off.run_to_handler(), ud);
    Board legacy(Board::Mode::protected32);
    legacy.state().efer |= efer_sce;
    legacy.program({0x0F, 0x05});
    EXPECT_EQ(legacy.run_to_handler(), ud);
}

TEST(SystemFastCall, SyscallInCompatibilityModeIsAmds) {
    for (const char* vendor : {"GenuineIntel", "AuthenticAMD"}) {
        CpuModel model;
        model.vendor = vendor;
        Board b(Board::Mode::long64, model);
        b.state().star = star_value;
        b.state().cstar = second_code_at;
        b.enter_user();
        b.segment(cs) = b.cached(user_code32);
        b.cpu().update_mode();
        b.bytes(second_code_at, {0xF4});
        b.program({0x0F, 0x05});
        if (model.vendor == "GenuineIntel") {
            EXPECT_EQ(b.run_to_handler(), ud);
        } else {
            EXPECT_EQ(b.run(), ExitReason::halted);
            EXPECT_EQ(b.state().rip(), second_code_at + 1);
            EXPECT_TRUE(b.cpu().mode.mode64);
        }
    }
}

TEST(SystemFastCall, SysretWithTrapFlagTrapsAtOnce) {
    Board b(Board::Mode::long64);
    b.state().star = star_value;
    b.gpr(rcx) = code_at;
    b.gpr(11) = flag_one | flag_tf;
    b.bytes(code_at, {0xF4});
    b.program({0x48, 0x0F, 0x07}, second_code_at);
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.stacked64(0), code_at);
    EXPECT_EQ(b.stacked64(1), 0x2Bu);
    EXPECT_TRUE(b.state().dr[6] & 1u << 14);
}

TEST(SystemFastCall, SysenterAndSysexit) {
    Board b(Board::Mode::protected32);
    b.state().sysenter_cs = kernel_code;
    b.state().sysenter_esp = kernel_stack;
    b.state().sysenter_eip = second_code_at;
    b.set_gdt(0x20, descriptor(0, 0xFFFFF, 0xC0F2));
    b.enter_user();
    b.state().rflags |= flag_if;
    b.bytes(second_code_at, {0x0F, 0x35}); // SYSEXIT
    b.program({0x0F, 0x34});
    EXPECT_EQ(b.run(1), ExitReason::budget);
    EXPECT_EQ(b.state().rip(), second_code_at);
    EXPECT_EQ(b.gpr(rsp), kernel_stack);
    EXPECT_EQ(b.cpu().mode.cpl, 0);
    EXPECT_FALSE(b.state().rflags & flag_if);
    b.gpr(rcx) = user_stack;
    b.gpr(rdx) = data_at;
    EXPECT_EQ(b.run(1), ExitReason::budget);
    EXPECT_EQ(b.state().rip(), data_at);
    EXPECT_EQ(b.gpr(rsp), user_stack);
    EXPECT_EQ(b.segment(cs).selector, kernel_code + 16 + 3);
    EXPECT_EQ(b.segment(ss).selector, kernel_code + 24 + 3);
    EXPECT_EQ(b.cpu().mode.cpl, 3);
}

TEST(SystemFastCall, SysenterWithoutSelector) {
    Board b(Board::Mode::protected32);
    b.program({0x0F, 0x34});
    EXPECT_EQ(b.run_to_handler(), gp);
}

TEST(SystemFastCall, SysenterAndSysexitInRealModeAreProtectionFaults) {
    for (const u8 opcode : {0x34, 0x35}) {
        Board b(Board::Mode::real);
        b.state().sysenter_cs = kernel_code;
        b.program({0x0F, opcode});
        EXPECT_EQ(b.run_to_handler(), gp) << unsigned{opcode};
    }
}

TEST(SystemFastCall, SysenterLeavesVirtual8086Mode) {
    Board b(Board::Mode::protected32);
    b.state().sysenter_cs = kernel_code;
    b.state().sysenter_eip = code_at;
    b.state().sysenter_esp = kernel_stack;
    b.bytes(code_at, {0xF4});
    b.state().rflags |= flag_vm;
    b.cpu().update_mode();
    for (unsigned n = es; n <= gs; ++n)
        b.cpu().load_segment_real(n, 0x700);
    b.cpu().update_mode();
    b.program({0x0F, 0x34}, second_code_at);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), code_at + 1);
    EXPECT_FALSE(b.state().rflags & flag_vm);
    EXPECT_EQ(b.cpu().mode.cpl, 0);
}

TEST(SystemFastCall, SwapgsAndBases) {
    Board b(Board::Mode::long64);
    b.state().kernel_gs_base = 0x1111;
    b.segment(gs).base = 0x2222;
    b.program({0x0F, 0x01, 0xF8, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.segment(gs).base, 0x1111u);
    EXPECT_EQ(b.state().kernel_gs_base, 0x2222u);

    b.program({0xF3, 0x48, 0x0F, 0xAE, 0xC0}); // RDFSBASE RAX without CR4.FSGSBASE
    EXPECT_EQ(b.run_to_handler(), ud);
    b.state().cr4 |= cr4_fsgsbase;
    b.gpr(rax) = 0xFFFF800000001234;
    b.program({0xF3, 0x48, 0x0F, 0xAE, 0xD0, 0xF3, 0x48, 0x0F, 0xAE, 0xC3, 0xF4}); // WRFSBASE RAX; RDFSBASE RBX
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rbx), 0xFFFF800000001234u);
    b.gpr(rax) = u64{1} << 50;
    b.program({0xF3, 0x48, 0x0F, 0xAE, 0xD8}); // WRGSBASE RAX
    EXPECT_EQ(b.run_to_handler(), gp);

    Board user(Board::Mode::long64);
    user.enter_user();
    user.program({0x0F, 0x01, 0xF8});
    EXPECT_EQ(user.run_to_handler(), gp);
}

} // namespace
} // namespace calque::cpu::testing
