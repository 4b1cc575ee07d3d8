// Parts of far JMP, CALL, RET and IRET.
#pragma once

#include "cpu/system/frame_stack.h"

namespace calque::cpu {

// Whether a jump to `offset` in the code segment faults: beyond the limit, or not canonical where it is 64-bit code.
[[nodiscard]] bool check_target(Cpu& cpu, const Descriptor& code, u64 offset, u32 ext = 0);
// Loads CS with that privilege level in its RPL. update_mode() or set_cpl() must follow.
void load_code_segment(Cpu& cpu, const Descriptor& code, u8 cpl, u64 offset);
// After a return to an outer level: data segments that it may not use become null (SDM volume 3, 5.8.6).
void drop_inner_data_segments(Cpu& cpu);
// The code segment that a far return or IRET goes back to.
[[nodiscard]] bool read_return_code(Cpu& cpu, u16 selector, Descriptor& out);
// The stack segment that goes with it: null where 64-bit code returns to privilege levels 0 to 2.
[[nodiscard]] bool read_return_stack(Cpu& cpu, u16 selector, u8 cpl, const Descriptor& code, SegmentRegister& out);

} // namespace calque::cpu
