// What the translator does with each row of the instruction table: its entry point for a new instruction.
#pragma once

#include "cpu/table.h"
#include "jit/ir/unit.h"

namespace calque::jit {

enum class RowKind : u8 {
    interpret,  // No translator: the handler runs.
    host,       // As it is, with operands renamed.
    host_float, // The same, while all exceptions of MXCSR are masked.
    move,       // MOV: `host`, but for segment, control and debug registers.
    multiply,   // `host` with two or three operands, else by the accumulator.
    divide,
    compare_exchange,
    widen,
    load_address,
    push,
    pop,
    leave_frame,
    nothing,
    swap_gs,
    disable_interrupts,
    enable_interrupts,
    push_flags,
    pop_flags,
    read_timestamp,
    pause,
    memory_fence,
    segment_base,
    read_keys,
    write_keys,
    system_call,
    system_return,
    allow_access,
    forbid_access,
    branch,
    branch_if_count_zero,
    loop,
    loop_equal,
    loop_not_equal,
    far_pointer,
    push_all,
    pop_all,
    string_load,
    string_store,
    string_move,
    string_scan,
    string_compare,
    direction,
    gather,
    flags_to_ah,
    flags_from_ah,
    jump,
    call,
    return_near,
    x87,                // On the host's unit (jit/translate/x87.h), which then names it in FOP, FIP and FDP.
    x87_control,        // The same, but it is not named there.
    x87_transcendental, // `x87`, if wanted: processors differ in the last bit.
    x87_wait,
};

// Which of the operands that are registers or memory are written.
enum class Writes : u8 { first, none, both };

struct RowClass {
    RowKind kind = RowKind::interpret;
    Writes writes = Writes::first;
    bool reads_first = true; // Operand 0 is read too: a memory operand there is modified, not only written.
    bool unaligned = false;  // A legacy SSE instruction whose memory operand need not be aligned.
    bool aligned = false;    // A VEX instruction whose memory operand must be.
    ir::Flags reads = 0, written = 0;
};

const RowClass& class_of_row(u16 row);

} // namespace calque::jit
