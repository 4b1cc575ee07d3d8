// Where guest registers live in x86-64 host registers: in the same place always, across blocks.
//
// RAX and R15 are the translator's own, RSP is its context. RAX because LAHF, SETO, MUL, DIV and CMPXCHG use it: the
// guest's RAX is moved there only for those. Everything else that has a fixed place in some instruction (RCX, RDX, RBX,
// RSI, RDI) is where the guest has it. Three guest registers have no place: those that compiled code names least often
// (docs/measurements.md).
#pragma once

#include "cpu/state.h"

#include <array>

namespace calque::jit {

inline constexpr u8 host_t0 = 0;  // RAX: addresses, packed flags.
inline constexpr u8 host_t1 = 15; // R15: TLB entries, host pages.
inline constexpr u8 no_host = 0xFF;

// By guest register; no_host for those in JitContext::spilled.
inline constexpr std::array<u8, 16> host_of_guest{13, 1, 2,       3,  14, 5,  6,       7, //
                                                  8,  9, no_host, 11, 12, 10, no_host, no_host};

inline constexpr bool pinned(unsigned guest) { return host_of_guest[guest] != no_host; }

// Of JitContext::spilled.
inline constexpr unsigned spilled_index(unsigned guest) {
    unsigned index = 0;
    for (unsigned other = 0; other < guest; ++other)
        index += !pinned(other);
    return index;
}
static_assert(spilled_index(16) == 3);

} // namespace calque::jit
