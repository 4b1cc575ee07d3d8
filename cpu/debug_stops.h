// What a debugger outside the guest wants a processor to stop at. The guest notices nothing of it, and the processor's
// own breakpoints (DR0 to DR7) stay the guest's.
//
// Breakpoints cost nothing but where they are: blocks and translated units end before each place whose *page offset* is
// that of a breakpoint, and there the interpreter looks at the whole address and runs one instruction alone. Going by
// the page offset, nobody has to know where else the code of a page is mapped. Watchpoints are the Mmu's
// (mmu/watchpoints.h); while there are any, interpreted blocks are one instruction long, so that the processor stops
// behind the instruction that made the access.
#pragma once

#include "base/types.h"

#include <algorithm>
#include <bitset>
#include <optional>
#include <vector>

namespace calque::cpu {

struct DebugStop {
    enum class Reason : u8 {
        none,
        breakpoint, // Before the instruction at `address`.
        watchpoint, // After the instruction that accessed memory at `address`.
        step,       // After one instruction, or the delivery of what it raised.
        exception,  // At the first instruction of the exception's handler.
    };
    Reason reason = Reason::none;
    u64 address = 0; // Linear. exception: of the instruction.
    bool write = false;
    u8 vector = 0;
    u32 error_code = 0;
};

// One processor's. Changed only while its thread is parked; after a change of `offsets` or `single_instructions` the
// engine is flushed.
struct DebugStops {
    std::vector<u64> breakpoints;   // Linear addresses.
    std::bitset<page_size> offsets; // Of these breakpoints at least.
    bool single_instructions = false;
    bool step = false;       // Stop after one instruction. Interrupts wait meanwhile; Cpu::update_slow_flag().
    u32 vectors = 0;         // Exceptions to stop at, a bit each.
    std::optional<u64> pass; // A breakpoint that is passed over once.
    DebugStop stop;          // What has happened. While it has a reason the processor does not run.

    bool ends_before(u64 address) const { return offsets[address & page_offset_mask]; }
    // From `address` to the end of its page, or to the next place that code ends before.
    u64 room(u64 address) const {
        const u64 first = address & page_offset_mask;
        if (offsets.none()) return page_size - first;
        u64 next = first + 1;
        while (next < page_size && !offsets[next])
            ++next;
        return next - first;
    }
    bool breakpoint_at(u64 address) {
        if (!ends_before(address) || std::find(breakpoints.begin(), breakpoints.end(), address) == breakpoints.end())
            return false;
        if (pass != address) return true;
        pass.reset();
        return false;
    }
    bool stops_at(u8 vector) const { return vector < 32 && (vectors >> vector & 1); }
};

} // namespace calque::cpu
