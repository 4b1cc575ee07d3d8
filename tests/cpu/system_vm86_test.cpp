// Virtual-8086 mode, VME and PVI (SDM volume 3, chapter 20), and the I/O permission bitmap.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u16 vm_segment = 0x700; // Code, data and stack at 7000h.

// In virtual-8086 mode as IRET leaves it.
void enter_vm86(Board& b, u64 more_flags = 0) {
    b.state().rflags |= flag_vm | more_flags;
    b.cpu().update_mode();
    for (unsigned n = es; n <= gs; ++n)
        b.cpu().load_segment_real(n, vm_segment);
    b.gpr(rsp) = 0xF00;
    b.cpu().update_mode();
}
void vm_program(Board& b, std::initializer_list<u8> code) { b.program(code, second_code_at); }
// The redirection bitmap at 800h of a longer TSS, then the I/O bitmap.
void give_bitmaps(Board& b) {
    b.segment(tr).limit = 0x7FF;
    b.poke<u16>(tss_at + 102, 0x100);
    b.poke<u8>(tss_at + 0x100 + 0x40, 0xFF);
}

TEST(SystemVm86, FaultFrameHasTheSegments) {
    Board b(Board::Mode::protected32);
    enter_vm86(b);
    b.cpu().load_segment_real(gs, 0x1111);
    vm_program(b, {0xF4});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.gpr(rsp), kernel_stack - 40);
    EXPECT_EQ(b.stacked32(1), 0u);
    EXPECT_EQ(b.stacked32(2), vm_segment);
    EXPECT_TRUE(b.stacked32(3) & flag_vm);
    EXPECT_EQ(b.stacked32(4), 0xF00u);
    EXPECT_EQ(b.stacked32(5), vm_segment);
    EXPECT_EQ(b.stacked32(9), 0x1111u);
    EXPECT_FALSE(b.state().rflags & flag_vm);
    EXPECT_EQ(b.segment(ds).selector, 0);
    EXPECT_FALSE(b.segment(gs).present());
}

TEST(SystemVm86, IretEntersIt) {
    Board b(Board::Mode::protected32);
    const u32 frame[9] = {0x10,  vm_segment, static_cast<u32>(flag_one | flag_vm | flag_if | flag_iopl),
                          0xE00, 0x111,      0x222,
                          0x333, 0x444,      0x555};
    for (u32 n = 0; n < 9; ++n)
        b.poke<u32>(kernel_stack - 36 + n * 4, frame[n]);
    b.gpr(rsp) = kernel_stack - 36;
    b.bytes(0x7010, {0x8C, 0xE8, 0x0F, 0x0B}); // MOV AX, GS; UD2
    b.program({0xCF});
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.gpr(rax) & 0xFFFF, 0x555u);
    EXPECT_EQ(b.stacked32(0), 0x12u);
    EXPECT_EQ(b.stacked32(4), 0x111u);
    EXPECT_EQ(b.stacked32(5), 0x222u);
}

TEST(SystemVm86, SensitiveInstructionsBelowIopl3) {
    for (const auto& code : {std::initializer_list<u8>{0xFA}, {0xFB}, {0x9C}, {0x9D}, {0xCF}, {0xCD, 0x21}}) {
        Board b(Board::Mode::protected32);
        enter_vm86(b);
        vm_program(b, code);
        EXPECT_EQ(b.run_to_handler(), gp);
        EXPECT_EQ(b.stacked32(1), 0u);
    }
    Board b(Board::Mode::protected32);
    enter_vm86(b, flag_iopl);
    vm_program(b, {0xFB, 0x9C, 0x58, 0xFA, 0x0F, 0x0B}); // STI; PUSHF; POP AX; CLI; UD2
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.gpr(rax) & 0xFFFF, flag_one | flag_if | flag_iopl);
    EXPECT_FALSE(b.stacked32(2) & flag_if);
}

TEST(SystemVm86, ProtectedModeInstructionsAreUndefined) {
    constexpr u8 extensions[][3] = {
        {0x0F, 0x00, 0xC0}, {0x0F, 0x00, 0xC8}, {0x0F, 0x00, 0xD0}, {0x0F, 0x00, 0xD8}, // SLDT, STR, LLDT, LTR
        {0x0F, 0x00, 0xE0}, {0x0F, 0x00, 0xE8}, {0x0F, 0x02, 0xC0}, {0x0F, 0x03, 0xC0}, // VERR, VERW, LAR, LSL
        {0x63, 0xC0, 0x90}, {0xC5, 0xF8, 0x77},                                         // ARPL, VZEROUPPER
    };
    for (const auto& code : extensions) {
        Board b(Board::Mode::protected32);
        enter_vm86(b);
        vm_program(b, {code[0], code[1], code[2]});
        EXPECT_EQ(b.run_to_handler(), ud) << unsigned{code[1]} << ' ' << unsigned{code[2]};
        Board real(Board::Mode::real);
        real.program({code[0], code[1], code[2]});
        EXPECT_EQ(real.run_to_handler(), ud) << unsigned{code[1]} << ' ' << unsigned{code[2]};
    }
}

TEST(SystemVm86, InterruptAtIopl3GoesThroughTheIdt) {
    Board b(Board::Mode::protected32);
    enter_vm86(b, flag_iopl);
    b.set_idt(0x21, gate(kernel_code, b.handler(0x21), 0xE, 3));
    vm_program(b, {0xCD, 0x21});
    EXPECT_EQ(b.run_to_handler(), 0x21);
    EXPECT_EQ(b.stacked32(0), 2u);
}

TEST(SystemVm86, HandlerMustBeLevelZero) {
    Board b(Board::Mode::protected32);
    enter_vm86(b, flag_iopl);
    b.set_idt(0x21, gate(ring1_code & ~3, b.handler(0x21), 0xE, 3));
    vm_program(b, {0xCD, 0x21});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(0), ring1_code & 0xFFFCu);
}

TEST(SystemVm86, VmeRedirectsToTheProgramsOwnTable) {
    Board b(Board::Mode::protected32);
    give_bitmaps(b);
    b.state().cr4 |= cr4_vme;
    enter_vm86(b, flag_vif);
    b.poke<u32>(0x21 * 4, u32{vm_segment} << 16 | 0x80);
    b.bytes(0x7080, {0x0F, 0x0B});
    vm_program(b, {0xCD, 0x21});
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_EQ(b.stacked32(1), vm_segment);
    EXPECT_EQ(b.stacked32(0), 0x80u);
    EXPECT_FALSE(b.stacked32(2) & flag_vif);
    EXPECT_EQ(b.peek<u16>(0x7000 + 0xF00 - 6), 2u);
    EXPECT_EQ(b.peek<u16>(0x7000 + 0xF00 - 2), flag_one | flag_if | flag_iopl); // VIF shows as IF.
}

TEST(SystemVm86, VmeWithTheBitSetIsAFaultBelowIopl3) {
    Board b(Board::Mode::protected32);
    give_bitmaps(b);
    b.poke<u8>(tss_at + 0x100 - 32 + 0x21 / 8, 1u << (0x21 % 8));
    b.state().cr4 |= cr4_vme;
    enter_vm86(b);
    vm_program(b, {0xCD, 0x21});
    EXPECT_EQ(b.run_to_handler(), gp);
}

TEST(SystemVm86, VmeVirtualInterruptFlag) {
    Board b(Board::Mode::protected32);
    b.state().cr4 |= cr4_vme;
    enter_vm86(b);
    vm_program(b, {0xFB, 0x9C, 0x58, 0xFA, 0x9C, 0x5B, 0x50, 0x9D, 0x0F, 0x0B});
    // STI; PUSHF; POP AX; CLI; PUSHF; POP BX; PUSH AX; POPF; UD2
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_TRUE(b.gpr(rax) & flag_if);
    EXPECT_FALSE(b.gpr(rbx) & flag_if);
    EXPECT_TRUE(b.stacked32(2) & flag_vif);
    EXPECT_FALSE(b.stacked32(2) & flag_if);

    Board pending(Board::Mode::protected32);
    pending.state().cr4 |= cr4_vme;
    enter_vm86(pending, flag_vip);
    vm_program(pending, {0xFB});
    EXPECT_EQ(pending.run_to_handler(), gp);
}

TEST(SystemVm86, ProtectedModeVirtualInterrupts) {
    Board b(Board::Mode::protected32);
    b.state().cr4 |= cr4_pvi;
    b.enter_user();
    b.program({0xFB, 0x0F, 0x0B});
    EXPECT_EQ(b.run_to_handler(), ud);
    EXPECT_TRUE(b.stacked32(2) & flag_vif);

    Board without(Board::Mode::protected32);
    without.enter_user();
    without.program({0xFB});
    EXPECT_EQ(without.run_to_handler(), gp);
}

TEST(SystemVm86, PortsNeedTheBitmap) {
    const auto out = [](Board& b, u8 port) {
        b.program({0xE6, port, 0x0F, 0x0B}); // OUT port, AL; UD2
        return b.run_to_handler();
    };
    Board allowed(Board::Mode::protected32);
    give_bitmaps(allowed);
    allowed.enter_user();
    EXPECT_EQ(out(allowed, 0x70), ud);
    EXPECT_EQ(allowed.platform.writes.size(), 1u);

    Board forbidden(Board::Mode::protected32);
    give_bitmaps(forbidden);
    forbidden.poke<u8>(tss_at + 0x100 + 0x70 / 8, 1);
    forbidden.enter_user();
    EXPECT_EQ(out(forbidden, 0x70), gp);
    EXPECT_TRUE(forbidden.platform.writes.empty());

    Board wide(Board::Mode::protected32); // A doubleword at 6Dh reaches into 70h.
    give_bitmaps(wide);
    wide.poke<u8>(tss_at + 0x100 + 0x70 / 8, 1);
    wide.enter_user();
    wide.program({0xE7, 0x6D});
    EXPECT_EQ(wide.run_to_handler(), gp);

    Board beyond(Board::Mode::protected32);
    give_bitmaps(beyond);
    beyond.segment(tr).limit = 0x100 + 0x70 / 8; // The second byte that is read lies outside.
    beyond.enter_user();
    EXPECT_EQ(out(beyond, 0x70), gp);

    Board iopl(Board::Mode::protected32);
    iopl.state().rflags |= flag_iopl;
    iopl.enter_user();
    EXPECT_EQ(out(iopl, 0x70), ud);

    Board vm(Board::Mode::protected32); // IOPL does not help in virtual-8086 mode.
    enter_vm86(vm, flag_iopl);
    vm_program(vm, {0xE6, 0x70});
    EXPECT_EQ(vm.run_to_handler(), gp);
}

} // namespace
} // namespace calque::cpu::testing
