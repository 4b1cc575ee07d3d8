// Hardware task switches (SDM volume 3, chapter 7).
#pragma once

#include "cpu/system/descriptor.h"

#include <optional>

namespace calque::cpu {

enum class TaskSwitch : u8 { jump, call, interrupt, iret };

// What an interrupt or exception brings along.
struct TaskEvent {
    u32 ext = 0; // The EXT bit of error codes.
    std::optional<u32> error_code;
    bool resume_flag = false; // RF is set in the image of EFLAGS that the old task's TSS gets.
};

// To the task of `tss`, whose privilege has been checked by the caller; whether it is free or busy as the reason wants,
// present and long enough is checked here. The error code is pushed on the new task's stack.
// Flow::exit: done. Flow::fault: nothing has happened. Flow::trap: the switch is complete and an exception is pending
// within the new task.
Flow switch_task(Cpu& cpu, Descriptor& tss, TaskSwitch reason, const TaskEvent& event = {});

// Through a task gate: checks the TSS selector that it holds.
Flow switch_by_gate(Cpu& cpu, const Descriptor& gate, TaskSwitch reason, const TaskEvent& event = {});
// IRET with NT set.
Flow return_to_previous_task(Cpu& cpu);

} // namespace calque::cpu
