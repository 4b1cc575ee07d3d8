#include "devices/i8042/i8042.h"

#include <algorithm>

namespace calque::devices {

namespace {

// Status register (port 64).
constexpr u8 OBF = 1 << 0, SYS = 1 << 2, CMD = 1 << 3, INH = 1 << 4, AUX_OBF = 1 << 5;
// Command byte.
constexpr u8 CCB_KEYBOARD_IRQ = 1 << 0, CCB_MOUSE_IRQ = 1 << 1, CCB_SYS = 1 << 2, CCB_KEYBOARD_DISABLE = 1 << 4,
             CCB_MOUSE_DISABLE = 1 << 5, CCB_TRANSLATE = 1 << 6;
// Commands (writes to port 64).
constexpr u8 READ_RAM = 0x20, WRITE_RAM = 0x60, TEST_PASSWORD = 0xA4, DISABLE_MOUSE = 0xA7, ENABLE_MOUSE = 0xA8,
             TEST_MOUSE = 0xA9, SELF_TEST = 0xAA, TEST_KEYBOARD = 0xAB, DISABLE_KEYBOARD = 0xAD, ENABLE_KEYBOARD = 0xAE,
             READ_INPUT_PORT = 0xC0, READ_OUTPUT_PORT = 0xD0, WRITE_OUTPUT_PORT = 0xD1, WRITE_KEYBOARD_BUFFER = 0xD2,
             WRITE_MOUSE_BUFFER = 0xD3, WRITE_MOUSE = 0xD4, DISABLE_A20 = 0xDD, ENABLE_A20 = 0xDF,
             READ_TEST_INPUTS = 0xE0, PULSE_OUTPUT = 0xF0;
// Output port.
constexpr u8 OUT_RESET = 1 << 0, OUT_A20 = 1 << 1, OUT_KEYBOARD_IRQ = 1 << 4, OUT_MOUSE_IRQ = 1 << 5;
constexpr u8 OUT_LATCHED = 0xCF; // All but the two that show the interrupt lines.
constexpr u8 SELF_TEST_OK = 0x55, TEST_OK = 0x00, NO_PASSWORD = 0xF1;
constexpr u8 INPUT_PORT = 0xA0; // Keyboard not locked, manufacturing jumper not installed.

constexpr Nanoseconds byte_time = 500'000; // Eleven bits at some 20 kHz.

} // namespace

I8042::I8042(Log& log, Clock& clock, IrqLine keyboard_irq, IrqLine mouse_irq, Outputs outputs)
    : log_(log), clock_(clock), keyboard_irq_(keyboard_irq), mouse_irq_(mouse_irq), outputs_(std::move(outputs)),
      keyboard_(log), mouse_(log) {
    timer_ = clock.make_timer([this] { timer_due(); });
    state_.ram[0] = CCB_KEYBOARD_DISABLE | CCB_MOUSE_DISABLE | CCB_TRANSLATE;
    state_.output_port = OUT_RESET | OUT_A20;
    keyboard_.power_on();
    mouse_.power_on();
}

void I8042::reset() {
    {
        std::lock_guard lock(mutex_);
        state_ = {};
        state_.ram[0] = CCB_KEYBOARD_DISABLE | CCB_MOUSE_DISABLE | CCB_TRANSLATE;
        state_.output_port = OUT_RESET | OUT_A20;
        keyboard_.power_on();
        mouse_.power_on();
        update_irqs();
        arm();
    }
    if (outputs_.set_a20) outputs_.set_a20(true);
}

u8 I8042::read_status() {
    std::lock_guard lock(mutex_);
    u8 status = INH; // The lock is open.
    if (state_.full) status |= OBF;
    if (state_.full && state_.source == Source::mouse) status |= AUX_OBF;
    if (state_.ram[0] & CCB_SYS) status |= SYS;
    if (state_.last_write_command) status |= CMD;
    return status;
}

// The buffer keeps its byte after it was read.
u8 I8042::read_data() {
    std::lock_guard lock(mutex_);
    const u8 value = state_.output_buffer;
    if (state_.full) {
        state_.full = false;
        state_.wire_free = std::max(state_.wire_free, clock_.now() + byte_time);
        update_irqs();
        fill();
    }
    return value;
}

void I8042::put(u8 value, Source source) {
    state_.output_buffer = value;
    state_.source = source;
    state_.full = true;
    update_irqs();
}

// Moves the next byte into the empty output buffer: the controller's own answers at once, a device's when it has come
// over the wire.
void I8042::fill() {
    mouse_.report_if_due(clock_.now());
    if (!state_.full && !state_.controller_replies.empty()) put(state_.controller_replies.pop(), Source::controller);
    if (!state_.full && clock_.now() >= state_.wire_free) {
        const bool keyboard = !(state_.ram[0] & CCB_KEYBOARD_DISABLE) && keyboard_.has_output();
        const bool mouse = !(state_.ram[0] & CCB_MOUSE_DISABLE) && mouse_.has_output();
        if (keyboard) {
            take_keyboard_byte();
        } else if (mouse) {
            put(mouse_.next_output(), Source::mouse);
        }
    }
    arm();
}

// With translation on, F0 is swallowed and sets bit 7 of the code that follows.
bool I8042::take_keyboard_byte() {
    u8 value = keyboard_.next_output();
    if (state_.ram[0] & CCB_TRANSLATE) {
        if (value == 0xF0) {
            state_.translate_break = true;
            state_.wire_free = clock_.now() + byte_time;
            return false;
        }
        value = static_cast<u8>(set2_to_set1(value) | (state_.translate_break ? 0x80 : 0));
    }
    state_.translate_break = false;
    put(value, Source::keyboard);
    return true;
}

void I8042::update_irqs() {
    const bool mouse = state_.full && state_.source == Source::mouse;
    const bool keyboard = state_.full && !mouse;
    const bool keyboard_level = keyboard && (state_.ram[0] & CCB_KEYBOARD_IRQ);
    const bool mouse_level = mouse && (state_.ram[0] & CCB_MOUSE_IRQ);
    if (keyboard_level != keyboard_level_) keyboard_irq_.set(keyboard_level_ = keyboard_level);
    if (mouse_level != mouse_level_) mouse_irq_.set(mouse_level_ = mouse_level);
}

// One timer for all that happens later: a byte on the wire, the mouse's next report, a key that repeats.
void I8042::arm() {
    Nanoseconds next = never;
    const bool keyboard = !(state_.ram[0] & CCB_KEYBOARD_DISABLE) && keyboard_.has_output();
    const bool mouse = !(state_.ram[0] & CCB_MOUSE_DISABLE) && mouse_.has_output();
    if (!state_.full && (keyboard || mouse)) next = std::max(state_.wire_free, clock_.now());
    next = std::min({next, mouse_.report_deadline(), keyboard_.repeat_deadline()});
    if (next == never)
        timer_->disarm();
    else
        timer_->arm(next);
}

void I8042::timer_due() {
    std::lock_guard lock(mutex_);
    keyboard_.repeat(clock_.now());
    fill();
}

void I8042::write_command(u8 value) {
    Effects effects;
    {
        std::lock_guard lock(mutex_);
        log_.trace(Channel::keyboard, "8042 command {:02x}", value);
        state_.last_write_command = true;
        state_.pending_command = 0;
        effects = run_command(value);
        fill();
    }
    apply(effects);
}

void I8042::write_data(u8 value) {
    Effects effects;
    {
        std::lock_guard lock(mutex_);
        log_.trace(Channel::keyboard, "8042 data {:02x}", value);
        state_.last_write_command = false;
        const u8 command = state_.pending_command;
        state_.pending_command = 0;
        if (command) {
            effects = run_parameter(command, value);
        } else {
            state_.ram[0] &= static_cast<u8>(~CCB_KEYBOARD_DISABLE); // Sending to the keyboard enables it.
            keyboard_.receive(value);
            state_.wire_free = clock_.now() + byte_time;
        }
        fill();
    }
    apply(effects);
}

void I8042::apply(const Effects& effects) {
    if (effects.a20_changed && outputs_.set_a20) outputs_.set_a20(effects.a20);
    if (effects.reset && outputs_.reset_cpu) {
        log_.trace(Channel::power, "the keyboard controller resets the processors");
        outputs_.reset_cpu();
    }
}

I8042::Effects I8042::write_output_port(u8 value) {
    Effects effects;
    effects.a20_changed = (value ^ state_.output_port) & OUT_A20;
    effects.a20 = value & OUT_A20;
    effects.reset = !(value & OUT_RESET);
    state_.output_port = (value & OUT_LATCHED) | OUT_RESET;
    return effects;
}

u8 I8042::output_port() const {
    return static_cast<u8>((state_.output_port & OUT_LATCHED) | (keyboard_level_ ? OUT_KEYBOARD_IRQ : 0)
                           | (mouse_level_ ? OUT_MOUSE_IRQ : 0));
}

I8042::Effects I8042::run_command(u8 command) {
    u8& ccb = state_.ram[0];
    if (command >= READ_RAM && command < READ_RAM + 0x20) {
        reply(state_.ram[command & 0x1F]);
        return {};
    }
    if (command >= WRITE_RAM && command < WRITE_RAM + 0x20) {
        state_.pending_command = command;
        return {};
    }
    if (command >= PULSE_OUTPUT) { // A low bit pulses its output; only the reset line has a pulse to speak of.
        Effects effects;
        effects.reset = !(command & OUT_RESET);
        return effects;
    }
    switch (command) {
    case TEST_PASSWORD: reply(NO_PASSWORD); break;
    case DISABLE_MOUSE: ccb |= CCB_MOUSE_DISABLE; break;
    case ENABLE_MOUSE: ccb &= static_cast<u8>(~CCB_MOUSE_DISABLE); break;
    case TEST_MOUSE:
    case TEST_KEYBOARD: reply(TEST_OK); break;
    case SELF_TEST:
        ccb |= CCB_SYS;
        state_.full = false;
        state_.controller_replies.clear();
        update_irqs();
        reply(SELF_TEST_OK);
        break;
    case DISABLE_KEYBOARD: ccb |= CCB_KEYBOARD_DISABLE; break;
    case ENABLE_KEYBOARD: ccb &= static_cast<u8>(~CCB_KEYBOARD_DISABLE); break;
    case READ_INPUT_PORT: reply(INPUT_PORT); break;
    case READ_OUTPUT_PORT: reply(output_port()); break;
    case READ_TEST_INPUTS: reply(0); break;
    case WRITE_OUTPUT_PORT:
    case WRITE_KEYBOARD_BUFFER:
    case WRITE_MOUSE_BUFFER:
    case WRITE_MOUSE: state_.pending_command = command; break;
    case DISABLE_A20: return write_output_port(static_cast<u8>(state_.output_port & ~OUT_A20));
    case ENABLE_A20: return write_output_port(state_.output_port | OUT_A20);
    default: log_.unimplemented(Channel::keyboard, "i8042.command"); break;
    }
    return {};
}

I8042::Effects I8042::run_parameter(u8 command, u8 value) {
    if (command >= WRITE_RAM && command < WRITE_RAM + 0x20) {
        state_.ram[command & 0x1F] = value;
        update_irqs();
        return {};
    }
    switch (command) {
    case WRITE_OUTPUT_PORT: return write_output_port(value);
    case WRITE_KEYBOARD_BUFFER: put(value, Source::keyboard); break;
    case WRITE_MOUSE_BUFFER: put(value, Source::mouse); break;
    case WRITE_MOUSE:
        state_.ram[0] &= static_cast<u8>(~CCB_MOUSE_DISABLE);
        mouse_.receive(value);
        state_.wire_free = clock_.now() + byte_time;
        break;
    default: break;
    }
    return {};
}

void I8042::key(Key key, bool pressed) {
    std::lock_guard lock(mutex_);
    keyboard_.key(key, pressed, clock_.now());
    fill();
}

void I8042::mouse_move(i32 dx, i32 dy, i32 wheel) {
    std::lock_guard lock(mutex_);
    mouse_.move(dx, dy, wheel, clock_.now());
    fill();
}

void I8042::mouse_button(MouseButton button, bool pressed) {
    std::lock_guard lock(mutex_);
    mouse_.button(button, pressed, clock_.now());
    fill();
}

bool I8042::keyboard_idle() {
    std::lock_guard lock(mutex_);
    return !keyboard_.has_output() && !(state_.full && state_.source == Source::keyboard);
}

u8 I8042::leds() {
    std::lock_guard lock(mutex_);
    return keyboard_.leds();
}

void I8042::serialize(Archive& archive) {
    bool a20 = false;
    {
        std::lock_guard lock(mutex_);
        State& s = state_;
        archive.section("i8042", 1, [&](u32) {
            archive.field("ram", s.ram);
            archive.field("output_port", s.output_port);
            archive.field("output_buffer", s.output_buffer);
            archive.field("full", s.full);
            archive.field("source", s.source);
            archive.field("last_write_command", s.last_write_command);
            archive.field("pending_command", s.pending_command);
            archive.field("translate_break", s.translate_break);
            s.controller_replies.serialize(archive, "controller_replies");
            archive.field("wire_free", s.wire_free);
            keyboard_.serialize(archive);
            mouse_.serialize(archive);
            if (archive.loading() && s.source > Source::mouse) archive.fail("the output buffer has no such source");
        });
        if (!archive.loading()) return;
        update_irqs();
        arm();
        a20 = s.output_port & OUT_A20;
    }
    if (outputs_.set_a20) outputs_.set_a20(a20);
}

} // namespace calque::devices
