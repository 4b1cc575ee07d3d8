// What comes from outside: NMI, SMI, INIT, SIPI, waking up; reset; saving.
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

TEST(SystemEvents, ResetStartsAtTheTopInRealMode) {
    Board b(Board::Mode::long64);
    b.gpr(rbx) = 1;
    b.cpu().reset();
    const CpuState& s = b.state();
    EXPECT_EQ(s.rip(), 0xFFF0u);
    EXPECT_EQ(s.segment[cs].base, 0xFFFF0000u);
    EXPECT_EQ(s.segment[cs].selector, 0xF000);
    EXPECT_EQ(s.cr0, 0x60000010u);
    EXPECT_EQ(s.gpr[rdx], b.cpu().model.signature());
    EXPECT_EQ(s.gpr[rbx], 0u);
    EXPECT_EQ(s.dr[6], 0xFFFF0FF0u);
    EXPECT_EQ(s.idtr.limit, 0xFFFF);
    EXPECT_EQ(b.cpu().mode.code_size, CodeSize::bits16);
}

TEST(SystemEvents, InitKeepsFpuCachesAndMsrs) {
    Board b(Board::Mode::long64);
    b.state().lstar = 0x1234;
    b.state().vector[3].q[0] = 77;
    b.state().tsc_offset = 99;
    b.state().cr0 |= cr0_cd;
    b.cpu().request(event_init);
    b.cpu().handle_events();
    EXPECT_EQ(b.state().lstar, 0x1234u);
    EXPECT_EQ(b.state().vector[3].q[0], 77u);
    EXPECT_EQ(b.state().tsc_offset, 99u);
    EXPECT_EQ(b.state().cr0, cr0_cd | cr0_et);
    EXPECT_EQ(b.state().efer, 0u);
    EXPECT_EQ(b.state().rip(), 0xFFF0u);
}

TEST(SystemEvents, ApplicationProcessorWaitsForStartup) {
    Board b(Board::Mode::real);
    b.platform.bootstrap = false;
    b.cpu().request(event_init);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().activity, Activity::wait_for_sipi);
    // Interrupts and NMIs do not wake it.
    b.cpu().request(event_nmi | event_interrupt);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().activity, Activity::wait_for_sipi);
    b.cpu().withdraw(event_nmi | event_interrupt);
    b.bytes(0x8000, {0x8C, 0xC8, 0xF4}); // MOV AX, CS; HLT
    b.cpu().sipi_vector = 8;
    b.cpu().request(event_sipi);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().activity, Activity::halted);
    EXPECT_EQ(b.gpr(rax) & 0xFFFF, 0x800u);
    // A second SIPI is ignored.
    b.cpu().request(event_sipi);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), 3u);
}

TEST(SystemEvents, NmiIsBlockedUntilIret) {
    Board b(Board::Mode::protected32);
    b.bytes(b.handler(2), {0x40, 0x40, 0xCF}); // INC EAX; INC EAX; IRET
    b.cpu().request(event_nmi);
    b.program({0x90, 0xF4});
    b.run(1);
    EXPECT_TRUE(b.state().nmi_blocked);
    b.cpu().request(event_nmi);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rax), 4u); // The second one came after the first one's IRET.
    EXPECT_FALSE(b.state().nmi_blocked);
}

TEST(SystemEvents, HaltWakesOnNmiWithInterruptsOff) {
    Board b(Board::Mode::protected32);
    b.program({0xF4, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::halted);
    b.cpu().request(event_interrupt);
    b.platform.interrupt = 0x40;
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), code_at + 1); // IF is clear.
    b.cpu().request(event_nmi);
    EXPECT_EQ(b.run_to_handler(), 2);
    EXPECT_EQ(b.stacked32(0), code_at + 1);
}

TEST(SystemEvents, InterruptThatWentAwayIsNone) {
    Board b(Board::Mode::protected32);
    b.state().rflags |= flag_if;
    b.cpu().request(event_interrupt);
    b.program({0x40, 0x40, 0xFA, 0xF4});
    EXPECT_EQ(b.run_to_handler(), -1);
    EXPECT_EQ(b.gpr(rax), 2u);
}

TEST(SystemEvents, SmiSavesAndRsmRestores) {
    Board b(Board::Mode::long64);
    b.gpr(rbx) = 0x1122334455667788;
    b.gpr(15) = 0xFEDCBA9876543210;
    b.state().rflags |= flag_if;
    b.segment(fs).base = 0xFFFF800012345678;
    // SMRAM at 30000h: count in [8000h], return.
    b.bytes(0x38000, {0x66, 0x67, 0xFF, 0x05, 0x00, 0x80, 0, 0, 0x31, 0xDB, 0x0F, 0xAA});
    b.cpu().request(event_smi);
    b.program({0x90, 0xF4});
    b.run(1);
    EXPECT_TRUE(b.state().in_smm);
    EXPECT_TRUE(b.platform.smm);
    EXPECT_EQ(b.segment(cs).base, 0x30000u);
    EXPECT_FALSE(b.cpu().mode.protected_mode);
    EXPECT_EQ(b.peek<u64>(0x3FF78), code_at); // RIP in the save area.
    EXPECT_EQ(b.peek<u32>(0x3FEFC) & 0xFFFF, 0x64u);
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_FALSE(b.state().in_smm);
    EXPECT_FALSE(b.platform.smm);
    EXPECT_EQ(b.peek<u32>(0x8000), 1u);
    EXPECT_EQ(b.state().rip(), code_at + 2);
    EXPECT_EQ(b.gpr(rbx), 0x1122334455667788u);
    EXPECT_EQ(b.gpr(15), 0xFEDCBA9876543210u);
    EXPECT_EQ(b.segment(fs).base, 0xFFFF800012345678u);
    EXPECT_TRUE(b.cpu().mode.mode64);
    EXPECT_TRUE(b.state().rflags & flag_if);
}

TEST(SystemEvents, SmmHoldsNmiAndInitBackAndRelocates) {
    Board b(Board::Mode::real);
    b.bytes(0x38000, {0x66, 0x67, 0xC7, 0x05, 0x00, 0xFF, 0x03, 0, 0, 0, 4, 0, 0x0F, 0xAA}); // SMBASE = 40000h; RSM
    b.cpu().request(event_smi);
    b.program({0x90, 0xF4});
    b.run(1);
    b.cpu().request(event_nmi);
    EXPECT_EQ(b.run_to_handler(), 2); // After RSM.
    EXPECT_FALSE(b.state().in_smm);
    EXPECT_EQ(b.state().smbase, 0x40000u);
}

// SeaBIOS does it for each sector that GRUB reads.
TEST(SystemEvents, WithoutPagingNeitherSmmNorProtectedModeFlushesTheTlb) {
    Board b(Board::Mode::real);
    b.bytes(0x38000, {0x0F, 0xAA}); // RSM
    b.cpu().request(event_smi);
    const u64 flushes = b.cpu().mmu.counters().flushes;
    b.program(
        {0x0F, 0x20, 0xC0, 0x40, 0x0F, 0x22, 0xC0, 0x48, 0x0F, 0x22, 0xC0, 0xF4}); // Into protected mode and back.
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.cpu().mmu.counters().flushes, flushes);
}

TEST(SystemEvents, RsmOutsideSmmIsUndefined) {
    Board b(Board::Mode::protected32);
    b.program({0x0F, 0xAA});
    EXPECT_EQ(b.run_to_handler(), ud);
}

TEST(SystemEvents, RsmWithImpossibleStateShutsDown) {
    Board b(Board::Mode::real);
    // MOV DWORD [3FF58h], 80000000h (CR0: paging without protection); RSM
    b.bytes(0x38000, {0x66, 0x67, 0xC7, 0x05, 0x58, 0xFF, 0x03, 0, 0, 0, 0, 0x80, 0x0F, 0xAA});
    b.cpu().request(event_smi);
    b.program({0x90, 0xF4});
    EXPECT_EQ(b.run(), ExitReason::triple_fault);
}

TEST(SystemEvents, StateSurvivesSavingAndLoading) {
    Board b(Board::Mode::long64);
    CpuState& s = b.state();
    for (unsigned n = 0; n < 16; ++n)
        s.gpr[n] = 0x1000 + n;
    write_rflags(s, flag_cf | flag_of | flag_if);
    s.vector[15].q[3] = 42;
    s.x87.reg[7] = {0x8000000000000000, 0x3FFF};
    s.mtrr_variable[15] = 0x800;
    s.interrupt_shadow = true;
    b.cpu().sipi_vector = 9;
    b.cpu().request(event_nmi);
    Archive saver = Archive::saver();
    b.cpu().serialize(saver);
    const std::vector<u8> saved = saver.take();

    Board other(Board::Mode::real);
    Archive loader = Archive::loader(saved);
    other.cpu().serialize(loader);
    ASSERT_TRUE(loader.ok()) << loader.result().error().message;
    EXPECT_EQ(other.gpr(7), 0x1007u);
    EXPECT_EQ(other.cpu().rflags(), b.cpu().rflags());
    EXPECT_EQ(other.state().vector[15].q[3], 42u);
    EXPECT_EQ(other.state().x87.reg[7].sign_exponent, 0x3FFF);
    EXPECT_EQ(other.segment(tr).base, tss_at);
    EXPECT_TRUE(other.cpu().mode.mode64);
    EXPECT_TRUE(other.state().interrupt_shadow);
    EXPECT_EQ(other.cpu().sipi_vector, 9);
    EXPECT_TRUE(other.cpu().events & event_nmi);
    // Saving it again gives the same bytes.
    Archive again = Archive::saver();
    other.cpu().serialize(again);
    EXPECT_EQ(again.take(), saved);
}

TEST(SystemEvents, ImpossibleStateIsNotLoaded) {
    Board b(Board::Mode::long64);
    b.state().efer &= ~efer_lme;
    Archive saver = Archive::saver();
    b.cpu().serialize(saver);
    Archive loader = Archive::loader(saver.take());
    Board other(Board::Mode::real);
    other.cpu().serialize(loader);
    EXPECT_FALSE(loader.ok());
    EXPECT_FALSE(other.cpu().mode.long_mode);
}

} // namespace
} // namespace calque::cpu::testing
