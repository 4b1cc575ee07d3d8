// The pieces of code that translated code and the engine share, emitted once.
#pragma once

#include "base/types.h"
#include "jit/cache/target_index.h"
#include "mmu/address_spaces.h"

#include <array>
#include <vector>

namespace calque::jit {

struct JitContext;

// Functions that the thunks call. All run on the context's own stack.
struct ThunkTargets {
    // The host address of the byte at `address` for the access of site `context.exit_site`, or 0: then the instruction
    // is done by its handler.
    u64 (*refill)(JitContext* context, u64 address);
    // Does the instruction of site `context.exit_site`; the host address to go on at, or 0 to leave.
    const void* (*interpret)(JitContext* context);
    u64 (*read_timestamp)(JitContext* context);
    // The host address of code for `context.leave_rip`: for it, or what leaves with RIP there.
    const void* (*find_target)(JitContext* context);
    // The same for the target of exit `context.exit_site`; 0: leave.
    const void* (*resolve)(JitContext* context);
};

// Offsets in the emitted code.
struct Thunks {
    u32 enter = 0;  // void(JitContext*, const void* code): a function for C++.
    u32 refill = 0; // CALLed with the address in RAX; returns with the host address in R15 and 0 in RAX, or not.
    // CALLed like `refill`, with page_size less the number of bytes in T1: looks into the table first, for a page that
    // is not mirrored. Returns with the distance from the mirror's start to the operand in T1; T0 changes. By rights
    // mode and whether it is a write.
    std::array<std::array<u32, 2>, mmu::rights_modes> probe{};
    // The same, but a miss is no matter for C++: then carry is set and T0 is the address.
    std::array<std::array<u32, 2>, mmu::rights_modes> probe_only{};
    u32 interpret = 0;                          // JMPed to, with the site in the context; flags as the site says.
    u32 leave = 0;                              // JMPed to, with the exit in the context and flags packed.
    u32 resolve = 0;                            // The same, but goes on at the exit's target when there is code for it.
    std::array<u32, mmu::rights_modes> go_on{}; // JMPed to, with flags packed: on at JitContext::leave_rip.
    u32 leave_computed = 0; // JMPed to as if it were a unit: leaves with JitContext::leave_rip as RIP.
    u32 read_timestamp = 0; // CALLed; the time-stamp counter in RAX; T1 and the flags change.
    u32 set_shift = 0;      // CALLed by a movable unit that runs elsewhere than the last; RAX: the shift. T1 changes.
    u32 gone = 0;           // JMPed to from the computed entry of a unit that is no more: RAX is the linear address.
    u32 load_vectors = 0;   // CALLed; the guest's vectors and MXCSR into the host's. Flags are kept.
    u32 load_x87 = 0;       // CALLed; the guest's x87 state into the host's unit, unless it is there. Flags are kept.
};

// For the address that the code will run at.
std::vector<u8> emit_thunks(const void* base, const ThunkTargets& targets, const TargetIndex& index, Thunks& out);

} // namespace calque::jit
