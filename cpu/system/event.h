// An exception or interrupt on its way through the IDT.
#pragma once

#include "cpu/cpu.h"

#include <optional>

namespace calque::cpu {

struct SystemEvent {
    u8 vector = 0;
    bool software = false; // INT n, INT3, INTO: the gate's DPL counts, and EXT stays clear in error codes.
    std::optional<u32> error_code;
    bool resume_flag = false; // RF is set in the image of RFLAGS that is pushed.

    u32 ext() const { return software ? 0 : 1; }
};

// Goes through the interrupt table of the present mode. RIP is what the frame gets. Flow::exit: the handler is entered.
// Flow::fault: an exception is pending and nothing has changed. Flow::trap: a task gate switched tasks, and an
// exception is pending within the new one.
Flow deliver(Cpu& cpu, const SystemEvent& event);

} // namespace calque::cpu
