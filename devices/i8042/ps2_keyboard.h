// A PS/2 keyboard (IBM Personal System/2 Hardware Interface Technical Reference, 101/102-key keyboard).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/i8042/byte_queue.h"
#include "devices/input/keys.h"

#include <array>
#include <bitset>
#include <optional>

namespace calque::devices {

// Logic only: the controller owns it, calls it under its own lock, and moves the bytes. The keyboard repeats the key
// that is held by itself; whoever injects keys must leave out the host's repetition.
class Ps2Keyboard {
  public:
    explicit Ps2Keyboard(Log& log) : log_(log) {}

    void receive(u8 byte); // From the system.
    bool has_output() const { return !state_.replies.empty() || !state_.keys.empty(); }
    u8 next_output();

    void key(Key key, bool pressed, Nanoseconds now);
    // When the held key repeats next; `never` without one. repeat() sends what is due.
    Nanoseconds repeat_deadline() const { return state_.repeat_deadline; }
    void repeat(Nanoseconds now);

    u8 leds() const { return state_.leds; } // Bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    // The completion code after power-on was sent long before anyone listens; only a RESET command is answered with it.
    void power_on();
    void serialize(Archive& archive);

  private:
    static constexpr u8 no_command = 0, no_key = static_cast<u8>(Key::count);
    static constexpr u8 TYPEMATIC = 1, MAKE_BREAK = 2; // What a key does in set 3.
    struct State {
        ByteQueue<16> replies;           // Answers to commands; sent before keys.
        ByteQueue<16> keys;              // The keyboard's own 16-byte buffer.
        u8 pending_command = no_command; // Waits for its parameter.
        u8 last_sent = 0;
        u8 leds = 0;
        u8 set = 2;
        u8 typematic = 0x2B; // 10.9 characters a second after 500 ms.
        bool scanning = true;
        bool overrun = false;
        u8 repeating = no_key;
        Nanoseconds repeat_deadline = never;
        std::array<u8, 256> set3_types{}; // By set 3 code: TYPEMATIC, MAKE_BREAK.
        std::array<u8, static_cast<std::size_t>(Key::count)> down{};
    };

    void parameter(u8 command, u8 value);
    void command(u8 value);
    void set_defaults();
    void set_all_types(u8 type);
    void reply(u8 byte) { state_.replies.push(byte); }
    bool is_down(Key key) const { return state_.down[static_cast<std::size_t>(key)]; }
    void send_make(Key key);
    void send_break(Key key);
    void send(std::initializer_list<u8> set2_sequence);
    void send_special(Key key, bool pressed);
    Nanoseconds repeat_delay() const;
    Nanoseconds repeat_period() const;

    Log& log_;
    State state_;
};

} // namespace calque::devices
