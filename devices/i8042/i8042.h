// The keyboard controller, Intel 8042 with the PS/2 firmware: ports 60 and 64, a keyboard and a mouse (IBM Personal
// System/2 Hardware Interface Technical Reference, keyboard and auxiliary device controller).
#pragma once

#include "base/clock.h"
#include "base/log.h"
#include "devices/bus/byte_region.h"
#include "devices/i8042/ps2_keyboard.h"
#include "devices/i8042/ps2_mouse.h"
#include "devices/irq_line.h"

#include <functional>
#include <memory>
#include <mutex>

namespace calque::devices {

// The interrupt lines follow the output buffer: high while it holds a byte of theirs. A byte of a device takes its time
// on the wire, so that software which reads port 60 twice gets the same byte twice, as on a PC.
class I8042 final : public Device {
  public:
    // What the output port drives. Both run on the writing vCPU without a lock held, and may be empty. `set_a20` gets
    // this controller's request when it changes (the machine ORs it with port 92's); `reset_cpu` is a soft reset.
    struct Outputs {
        std::function<void(bool)> set_a20;
        std::function<void()> reset_cpu;
    };
    I8042(Log& log, Clock& clock, IrqLine keyboard_irq, IrqLine mouse_irq, Outputs outputs);

    IoRegion& data() { return data_; }       // Port 60, one byte.
    IoRegion& command() { return command_; } // Port 64, one byte.

    // From a console, on any thread. What a guest does not read is dropped as the devices do it. Key repetition is the
    // keyboard's: inject presses and releases only.
    void key(Key key, bool pressed);
    void mouse_move(i32 dx, i32 dy, i32 wheel); // Counts right, up; wheel steps towards the user.
    void mouse_button(MouseButton button, bool pressed);
    // The guest has taken every code of the keyboard's: what is typed now is not lost.
    bool keyboard_idle();
    // The lamps as the guest set them: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    u8 leds();

    std::string_view name() const override { return "i8042"; }
    void reset() override;
    void serialize(Archive& archive) override;

  private:
    class Data final : public ByteRegion {
      public:
        explicit Data(I8042& device) : device_(device) {}
        u8 read_byte(u64) override { return device_.read_data(); }
        void write_byte(u64, u8 value) override { device_.write_data(value); }

      private:
        I8042& device_;
    };
    class Command final : public ByteRegion {
      public:
        explicit Command(I8042& device) : device_(device) {}
        u8 read_byte(u64) override { return device_.read_status(); }
        void write_byte(u64, u8 value) override { device_.write_command(value); }

      private:
        I8042& device_;
    };
    enum class Source : u8 { controller, keyboard, mouse };
    struct State {
        std::array<u8, 32> ram{}; // Byte 0 is the command byte.
        u8 output_port = 0;
        u8 output_buffer = 0;
        bool full = false;                  // OBF.
        Source source = Source::controller; // Of the byte in the output buffer.
        bool last_write_command = false;    // Status bit CMD.
        u8 pending_command = 0;             // Waits for its parameter at port 60; 0 is none.
        bool translate_break = false;       // F0 came from the keyboard and waits for the code.
        ByteQueue<16> controller_replies;
        Nanoseconds wire_free = 0; // When the next byte of a device can have arrived.
    };
    // What to do once the lock is released.
    struct Effects {
        bool a20_changed = false;
        bool a20 = false;
        bool reset = false;
    };

    u8 read_data();
    u8 read_status();
    void write_data(u8 value);
    void write_command(u8 value);
    Effects run_command(u8 command);
    Effects run_parameter(u8 command, u8 value);
    Effects write_output_port(u8 value);
    void apply(const Effects& effects);
    void reply(u8 value) { state_.controller_replies.push(value); }
    void put(u8 value, Source source);
    bool take_keyboard_byte();
    void fill();
    void update_irqs();
    void arm();
    void timer_due();
    u8 output_port() const;

    Log& log_;
    Clock& clock_;
    IrqLine keyboard_irq_;
    IrqLine mouse_irq_;
    Outputs outputs_;
    Data data_{*this};
    Command command_{*this};
    std::mutex mutex_;
    State state_;
    Ps2Keyboard keyboard_;
    Ps2Mouse mouse_;
    bool keyboard_level_ = false; // As the lines stand; follow from the state.
    bool mouse_level_ = false;
    std::unique_ptr<Timer> timer_;
};

} // namespace calque::devices
