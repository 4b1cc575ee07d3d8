// One counter of the 8254, as a function of the input clock's ticks (Intel 8254 datasheet, order 231164).
#pragma once

#include "base/archive.h"
#include "base/types.h"

#include <string_view>

namespace calque::devices {

// Nothing runs here: the count and OUT are computed for the tick that is asked for, so a counter that nobody watches
// costs nothing. `tick` counts the input clock since power-on and never goes back. A count that is written during one
// tick is in the counting element at the next ("loaded on the next CLK pulse"), and falls by one with each that
// follows.
class I8254Counter {
  public:
    static constexpr u64 no_change = ~u64{0};

    struct State {
        u8 control = 0x30;          // RW, mode and BCD bits as programmed: here mode 0, both bytes.
        bool gate = true;           // The GATE input.
        bool loaded = false;        // A whole count has been written since the control word.
        bool triggered = false;     // Modes 1 and 5: GATE has started the count.
        bool paused = false;        // Counting stands still since `paused_at`.
        bool count_pending = false; // `next_count` waits for `next_at` (modes 2, 3) or a trigger (modes 1, 5).
        bool write_high = false;    // The second byte of a count comes next.
        bool read_high = false;     // The second byte of a count is read next.
        bool status_latched = false;
        u8 latched_bytes = 0; // Bytes of `latch` that are still to be read.
        u8 low_byte = 0;
        u8 status = 0;
        u16 latch = 0;
        u32 count = 0x10000; // The count in effect: 1 to 10000h (in BCD mode to 10000).
        u32 next_count = 0x10000;
        u64 next_at = 0;
        u64 start = 0; // The tick at which `count` was (or will be) in the counting element.
        u64 paused_at = 0;
    };

    void reset();
    void write_control(u8 value, u64 tick); // A control word for this counter, not a latch command.
    void write(u8 value, u64 tick);
    u8 read(u64 tick);
    void latch_count(u64 tick);
    void latch_status(u64 tick);
    void set_gate(bool gate, u64 tick);

    bool output(u64 tick) const;
    // How often OUT rose at ticks in (from, to]. Between writes and gate changes only: then both are settled.
    u64 rises(u64 from, u64 to) const;
    // Takes over a count that waited for the end of a period which has passed.
    void settle(u64 tick);
    // The next tick after `tick` (settled) that rises() or output() must be asked at, so that no rising edge is missed.
    // A pulse of one tick counts as its end.
    u64 next_change(u64 tick) const;
    const State& state() const { return state_; }

    void serialize(Archive& archive, std::string_view section);

  private:
    unsigned mode() const;
    bool bcd() const { return state_.control & 1; }
    bool running() const; // Counting has begun, or will at `start`.
    i64 elapsed(u64 tick) const;
    u32 high_half() const { return (state_.count + 1) / 2; } // Of mode 3's period.
    u16 value(u64 tick) const;
    void load(u32 count, u64 tick);
    void schedule(u32 count, u64 tick);
    bool null_count(u64 tick) const;

    State state_;
};

} // namespace calque::devices
