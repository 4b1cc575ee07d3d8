// A PS/2 mouse with the IntelliMouse extensions: a wheel (ID 3), and two more buttons (ID 4).
#pragma once

#include "base/archive.h"
#include "base/clock.h"
#include "base/log.h"
#include "devices/i8042/byte_queue.h"
#include "devices/input/input_device.h"

#include <array>

namespace calque::devices {

// Logic only: the controller owns it, calls it under its own lock, and moves the bytes. Movement adds up between two
// reports, which are at least one sample period apart.
class Ps2Mouse {
  public:
    explicit Ps2Mouse(Log& log) : log_(log) {}

    void receive(u8 byte); // From the system.
    bool has_output() const { return !state_.output.empty(); }
    u8 next_output();

    // Counts to the right, upwards, and wheel steps towards the user.
    void move(i32 dx, i32 dy, i32 dz, Nanoseconds now);
    void button(MouseButton button, bool pressed, Nanoseconds now);
    // When the next report may be made, if one waits; `never` otherwise.
    Nanoseconds report_deadline() const;
    void report_if_due(Nanoseconds now);

    void power_on(); // Sends no completion code, as the keyboard.

    void serialize(Archive& archive);

  private:
    static constexpr u8 no_command = 0;
    struct State {
        ByteQueue<16> output;
        u8 pending_command = no_command;
        u8 last_sent = 0;
        u8 id = 0;
        u8 sample_rate = 100; // Reports a second.
        u8 resolution = 2;
        bool scaling_2_to_1 = false;
        bool reporting = false;
        bool remote = false;
        bool wrap = false;
        std::array<u8, 2> last_rates{}; // The two sample rates before the last, newest first: the knock for ID 3 and 4.
        u8 buttons = 0;                 // As held.
        u8 reported_buttons = 0;        // As in the last report.
        bool changed = false;           // Something to report.
        i32 dx = 0, dy = 0, dz = 0;     // Since the last report.
        Nanoseconds next_report = 0;    // Not before.
    };

    void command(u8 value);
    void parameter(u8 command, u8 value);
    void set_defaults();
    void set_rate(u8 rate);
    void reply(std::initializer_list<u8> bytes);
    void send_packet();
    void clear_movement();

    Log& log_;
    State state_;
};

} // namespace calque::devices
