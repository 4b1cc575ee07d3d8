// One counter of the 8254, as a function of the input clock's ticks (Intel 8254 datasheet, order 231164).
#pragma once

#include "base/archive.h"
#include "base/types.h"

#include <string_view>

namespace calque::devices {

// Nothing runs here: the count and OUT are computed for the tick that is asked for. `tick` never goes back.
class I8254Counter {
  public:
    static constexpr u64 no_edge = ~u64{0};

    struct State {
        u8 control = 0x30; // RW, mode and BCD bits of the control word.
        bool gate = true;  // The GATE input.
        bool null_count = true;
        bool loaded = false;    // A whole count has been written since the control word.
        bool triggered = false; // Modes 1 and 5: a trigger has started the count.
        u32 count = 0;          // The count in effect: 1 to 65536 (10000 in BCD).
        u32 next_count = 0;     // Written while running; taken at `next_at` (modes 2 and 3) or at the next trigger.
        u64 next_at = 0;
        u64 start = 0;       // The tick at which `count` was loaded into the counting element.
        bool paused = false; // Gate low in a mode that then holds its count.
        u64 paused_at = 0;
        u8 low_byte = 0; // The first byte of a two-byte write.
        bool write_high = false;
        bool read_high = false;
        u8 latched = 0; // Bytes of `latch` still to be read.
        u16 latch = 0;
        bool status_latched = false;
        u8 status = 0;
    };
};

} // namespace calque::devices
