// Hardware task switches (SDM volume 3, chapter 7).
#include "tests/cpu/system_board.h"

namespace calque::cpu::testing {
namespace {

constexpr u64 task2_stack = 0xB000;

// A 32-bit task at tss2_at that runs at second_code_at.
void prepare_task(Board& b, u16 code = kernel_code, u16 stack = kernel_data) {
    b.poke<u32>(tss2_at + 0x20, second_code_at);
    b.poke<u32>(tss2_at + 0x24, flag_one);
    for (u32 n = 0; n < 8; ++n)
        b.poke<u32>(tss2_at + 0x28 + n * 4, 0x100 + n);
    b.poke<u32>(tss2_at + 0x38, task2_stack);
    for (u32 n = 0; n < 6; ++n)
        b.poke<u32>(tss2_at + 0x48 + n * 4, n == 1 ? code : stack);
    b.bytes(second_code_at, {0xF4});
}
u64 type_of(Board& b, u16 selector) { return b.gdt_entry(selector) >> 40 & 0xF; }

TEST(SystemTasks, JumpSavesOneTaskAndLoadsTheOther) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.gpr(rbx) = 0x5555;
    b.state().rflags |= flag_df;
    b.state().dr[7] |= 0x103;
    b.program({0xEA, 0, 0, 0, 0, 0x70, 0}); // JMP 70h:0
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), second_code_at + 1);
    EXPECT_EQ(b.gpr(rax), 0x100u);
    EXPECT_EQ(b.gpr(rdi), 0x107u);
    EXPECT_EQ(b.gpr(rsp), task2_stack);
    EXPECT_EQ(b.segment(tr).selector, tss2_selector);
    EXPECT_TRUE(b.state().cr0 & cr0_ts);
    EXPECT_EQ(b.state().dr[7] & 0xFF, 2u); // Local enables are cleared.
    EXPECT_EQ(type_of(b, tss_selector), 9u);
    EXPECT_EQ(type_of(b, tss2_selector), 0xBu);
    EXPECT_EQ(b.peek<u32>(tss_at + 0x20), code_at + 7);
    EXPECT_EQ(b.peek<u32>(tss_at + 0x24), flag_one | flag_df);
    EXPECT_EQ(b.peek<u32>(tss_at + 0x34), 0x5555u);
    EXPECT_EQ(b.peek<u16>(tss_at + 0x48), kernel_data);
    EXPECT_EQ(b.peek<u16>(tss_at + 0x4C), kernel_code);
    EXPECT_FALSE(b.state().rflags & flag_nt);
}

TEST(SystemTasks, CallLinksAndIretReturns) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.bytes(second_code_at, {0xCF, 0xF4});              // IRET
    b.program({0x9A, 0, 0, 0, 0, 0x70, 0, 0x40, 0xF4}); // CALL 70h:0; INC EAX; HLT
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), code_at + 9);
    EXPECT_EQ(b.gpr(rax), 1u);
    EXPECT_EQ(b.segment(tr).selector, tss_selector);
    EXPECT_EQ(b.peek<u16>(tss2_at), tss_selector);
    EXPECT_EQ(type_of(b, tss_selector), 0xBu);
    EXPECT_EQ(type_of(b, tss2_selector), 9u);
    EXPECT_EQ(b.peek<u32>(tss2_at + 0x24), flag_one); // NT is clear in what IRET saves.
    EXPECT_EQ(b.peek<u32>(tss2_at + 0x20), second_code_at + 1);
}

TEST(SystemTasks, CallSetsNestedTask) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.program({0x9A, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_TRUE(b.state().rflags & flag_nt);
    EXPECT_EQ(type_of(b, tss_selector), 0xBu);
}

TEST(SystemTasks, ThroughATaskGate) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.set_gdt(task_gate_selector, gate(tss2_selector, 0, 5, 0));
    b.program({0xEA, 0, 0, 0, 0, 0xB8, 0});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.segment(tr).selector, tss2_selector);
}

TEST(SystemTasks, ExceptionThroughATaskGatePushesTheErrorCode) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.set_idt(gp, gate(tss2_selector, 0, 5, 0));
    b.program({0x66, 0xB8, 0x00, 0x02, 0x8E, 0xD8}); // MOV DS, 200h
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.gpr(rsp), task2_stack - 4);
    EXPECT_EQ(b.stacked32(0), 0x200u);
    EXPECT_EQ(b.peek<u32>(tss_at + 0x20), code_at + 4);
    EXPECT_TRUE(b.state().rflags & flag_nt);
}

// RF was left out of the image in the TSS, so that an instruction breakpoint would have stopped the instruction again.
TEST(SystemTasks, FaultThroughATaskGateSavesResumeFlag) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.set_idt(gp, gate(tss2_selector, 0, 5, 0));
    b.program({0x66, 0xB8, 0x00, 0x02, 0x8E, 0xD8}); // MOV DS, 200h
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.peek<u32>(tss_at + 0x24), flag_one | flag_rf);
}

TEST(SystemTasks, BusyOrAbsentTaskFaultsInTheOldOne) {
    Board busy(Board::Mode::protected32);
    prepare_task(busy);
    busy.program({0xEA, 0, 0, 0, 0, 0x28, 0}); // The task that runs.
    EXPECT_EQ(busy.run_to_handler(), gp);
    EXPECT_EQ(busy.stacked32(0), tss_selector);
    EXPECT_EQ(busy.stacked32(1), code_at);

    Board absent(Board::Mode::protected32);
    prepare_task(absent);
    absent.set_gdt(tss2_selector, absent.gdt_entry(tss2_selector) & ~(u64{0x80} << 40));
    absent.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(absent.run_to_handler(), np);
    EXPECT_EQ(absent.stacked32(0), tss2_selector);

    Board small(Board::Mode::protected32);
    prepare_task(small);
    small.set_gdt(tss2_selector, descriptor(tss2_at, 0x66, 0x0089));
    small.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(small.run_to_handler(), ts_fault);
    EXPECT_EQ(small.stacked32(0), tss2_selector);
    EXPECT_EQ(small.segment(tr).selector, tss_selector);
}

TEST(SystemTasks, BadSegmentFaultsInTheNewTask) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.poke<u32>(tss2_at + 0x48 + 3 * 4, 0x200); // DS beyond the table.
    b.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(b.run_to_handler(), ts_fault);
    EXPECT_EQ(b.segment(tr).selector, tss2_selector);
    EXPECT_EQ(b.stacked32(0), 0x200u);
    EXPECT_EQ(b.stacked32(1), second_code_at); // Nothing of the new task has run.
    EXPECT_EQ(b.gpr(rax), 0x100u);

    Board stack(Board::Mode::protected32);
    prepare_task(stack, user_code, kernel_data); // SS's DPL is not the new CPL.
    stack.poke<u32>(tss2_at + 4, kernel_stack);  // The handler's stack is the new task's.
    stack.poke<u32>(tss2_at + 8, kernel_data);
    stack.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(stack.run_to_handler(), ts_fault);
    EXPECT_EQ(stack.stacked32(0), kernel_data);

    Board code(Board::Mode::protected32);
    prepare_task(code, absent_code);
    code.set_idt(np, gate(tss_selector, 0, 5, 0)); // CS cannot be pushed from: another task takes it.
    code.poke<u32>(tss_at + 0x20, code_at);
    code.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    code.bytes(code_at + 7, {0xF4});
    EXPECT_EQ(code.run(), ExitReason::halted);
    EXPECT_EQ(code.segment(tr).selector, tss_selector);
    EXPECT_EQ(code.peek<u32>(code.gpr(rsp)), absent_code | 0u);
}

TEST(SystemTasks, TrapBitStopsBeforeTheFirstInstruction) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.poke<u16>(tss2_at + 0x64, 1);
    b.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(b.run_to_handler(), db);
    EXPECT_EQ(b.state().dr[6] & 0xE00F, 0x8000u);
    EXPECT_EQ(b.stacked32(0), second_code_at);
}

TEST(SystemTasks, SixteenBitTask) {
    Board b(Board::Mode::protected32);
    b.set_gdt(tss2_selector, descriptor(tss2_at, 0x2B, 0x0081));
    b.poke<u16>(tss2_at + 0x0E, second_code_at);
    b.poke<u16>(tss2_at + 0x10, flag_one);
    for (u32 n = 0; n < 8; ++n)
        b.poke<u16>(tss2_at + 0x12 + n * 2, static_cast<u16>(0x200 + n));
    b.poke<u16>(tss2_at + 0x1A, task2_stack);
    for (u32 n = 0; n < 4; ++n)
        b.poke<u16>(tss2_at + 0x22 + n * 2, n == 1 ? code16 : data16);
    b.bytes(second_code_at, {0xF4});
    b.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(b.run(), ExitReason::halted);
    EXPECT_EQ(b.state().rip(), second_code_at + 1);
    EXPECT_EQ(b.segment(cs).selector, code16);
    EXPECT_EQ(b.gpr(rcx) & 0xFFFF, 0x201u);
    EXPECT_EQ(type_of(b, tss2_selector), 3u);
    EXPECT_FALSE(b.segment(fs).present());
}

TEST(SystemTasks, NoTasksInLongMode) {
    Board b(Board::Mode::long64);
    b.poke<u32>(data_at, 0);
    b.poke<u16>(data_at + 4, tss2_selector);
    b.program({0xFF, 0x2C, 0x25, 0x00, 0x80, 0, 0}); // JMP FAR [8000h]
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked64(0), tss2_selector);
}

TEST(SystemTasks, TaskOfVirtual8086Mode) {
    Board b(Board::Mode::protected32);
    prepare_task(b);
    b.poke<u32>(tss2_at + 0x24, static_cast<u32>(flag_one | flag_vm));
    b.poke<u32>(tss2_at + 0x20, 0x10);
    for (u32 n = 0; n < 6; ++n)
        b.poke<u32>(tss2_at + 0x48 + n * 4, 0x700);
    b.bytes(0x7010, {0xF4}); // Privileged: #GP, to the level 0 stack of the new task.
    b.poke<u32>(tss2_at + 4, kernel_stack);
    b.poke<u32>(tss2_at + 8, kernel_data);
    b.program({0xEA, 0, 0, 0, 0, 0x70, 0});
    EXPECT_EQ(b.run_to_handler(), gp);
    EXPECT_EQ(b.stacked32(1), 0x10u);
    EXPECT_EQ(b.stacked32(2), 0x700u);
    EXPECT_TRUE(b.stacked32(3) & flag_vm);
}

} // namespace
} // namespace calque::cpu::testing
