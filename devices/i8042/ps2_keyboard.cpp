#include "devices/i8042/ps2_keyboard.h"

namespace calque::devices {

namespace {

// Commands from the system.
constexpr u8 SET_LEDS = 0xED, ECHO = 0xEE, SELECT_SET = 0xF0, READ_ID = 0xF2, SET_TYPEMATIC = 0xF3, ENABLE = 0xF4,
             DEFAULT_DISABLE = 0xF5, SET_DEFAULT = 0xF6, SET_ALL_TYPEMATIC = 0xF7, SET_ALL_MAKE_BREAK = 0xF8,
             SET_ALL_MAKE = 0xF9, SET_ALL_BOTH = 0xFA, SET_KEY_TYPEMATIC = 0xFB, SET_KEY_MAKE_BREAK = 0xFC,
             SET_KEY_MAKE = 0xFD, RESEND = 0xFE, RESET = 0xFF;
// Answers.
constexpr u8 ACK = 0xFA, BAT_OK = 0xAA, ID_1 = 0xAB, ID_2 = 0x83;

} // namespace

void Ps2Keyboard::power_on() {
    state_ = {};
    set_defaults();
}

void Ps2Keyboard::set_defaults() {
    state_.set = 2;
    state_.typematic = 0x2B;
    state_.keys.clear();
    state_.overrun = false;
    state_.repeating = no_key;
    state_.repeat_deadline = never;
    // Set 3 at power-on: typematic for most, make only for the editing and function keys, make/break for shifts.
    for (const KeyCodes& k : key_codes)
        state_.set3_types[k.set3] = TYPEMATIC;
    for (const Key key : {Key::shift_left, Key::shift_right, Key::control_left, Key::caps_lock, Key::alt_left})
        state_.set3_types[key_codes[static_cast<std::size_t>(key)].set3] = MAKE_BREAK;
    for (auto k = static_cast<std::size_t>(Key::f1); k <= static_cast<std::size_t>(Key::f12); ++k)
        state_.set3_types[key_codes[k].set3] = 0;
    for (const Key key :
         {Key::escape,    Key::alt_right,    Key::control_right, Key::print_screen, Key::scroll_lock, Key::pause,
          Key::insert,    Key::home,         Key::page_up,       Key::end,          Key::page_down,   Key::num_lock,
          Key::pad_slash, Key::pad_asterisk, Key::pad_minus,     Key::pad_enter,    Key::pad_period,  Key::pad0,
          Key::pad1,      Key::pad2,         Key::pad3,          Key::pad4,         Key::pad5,        Key::pad6,
          Key::pad7,      Key::pad8,         Key::pad9,          Key::meta_left,    Key::meta_right,  Key::menu})
        state_.set3_types[key_codes[static_cast<std::size_t>(key)].set3] = 0;
}

void Ps2Keyboard::set_all_types(u8 type) { state_.set3_types.fill(type); }

void Ps2Keyboard::receive(u8 byte) {
    const u8 command_waiting = state_.pending_command;
    state_.pending_command = no_command;
    // A command where a parameter belongs starts over.
    if (command_waiting != no_command && byte < 0xED)
        parameter(command_waiting, byte);
    else
        command(byte);
}

void Ps2Keyboard::command(u8 value) {
    log_.trace(Channel::keyboard, "keyboard command {:02x}", value);
    if (value != RESEND) state_.replies.clear();
    switch (value) {
    case SET_LEDS:
    case SELECT_SET:
    case SET_TYPEMATIC:
    case SET_KEY_TYPEMATIC:
    case SET_KEY_MAKE_BREAK:
    case SET_KEY_MAKE:
        state_.pending_command = value;
        reply(ACK);
        break;
    case ECHO: reply(ECHO); break;
    case READ_ID:
        reply(ACK);
        reply(ID_1);
        reply(ID_2);
        break;
    case ENABLE:
        state_.keys.clear();
        state_.scanning = true;
        reply(ACK);
        break;
    case DEFAULT_DISABLE:
        set_defaults();
        state_.scanning = false;
        reply(ACK);
        break;
    case SET_DEFAULT:
        set_defaults();
        reply(ACK);
        break;
    case SET_ALL_TYPEMATIC:
        set_all_types(TYPEMATIC);
        reply(ACK);
        break;
    case SET_ALL_MAKE_BREAK:
        set_all_types(MAKE_BREAK);
        reply(ACK);
        break;
    case SET_ALL_MAKE:
        set_all_types(0);
        reply(ACK);
        break;
    case SET_ALL_BOTH:
        set_all_types(TYPEMATIC | MAKE_BREAK);
        reply(ACK);
        break;
    case RESEND: reply(state_.last_sent); break;
    case RESET: {
        const auto down = state_.down;
        power_on();
        state_.down = down;
        reply(ACK);
        reply(BAT_OK);
        break;
    }
    default: reply(RESEND); break;
    }
}

void Ps2Keyboard::parameter(u8 command, u8 value) {
    switch (command) {
    case SET_LEDS: state_.leds = value & 7; break;
    case SELECT_SET:
        if (value > 3) return reply(RESEND);
        reply(ACK);
        if (value == 0)
            reply(state_.set);
        else
            state_.set = value;
        return;
    case SET_TYPEMATIC: state_.typematic = value & 0x7F; break;
    case SET_KEY_TYPEMATIC: state_.set3_types[value] = TYPEMATIC; break;
    case SET_KEY_MAKE_BREAK: state_.set3_types[value] = MAKE_BREAK; break;
    case SET_KEY_MAKE: state_.set3_types[value] = 0; break;
    default: break;
    }
    // The key commands take a list of keys, which the next command ends.
    if (command >= SET_KEY_TYPEMATIC && command <= SET_KEY_MAKE) state_.pending_command = command;
    reply(ACK);
}

u8 Ps2Keyboard::next_output() {
    state_.last_sent = state_.replies.empty() ? state_.keys.pop() : state_.replies.pop();
    if (state_.keys.empty()) state_.overrun = false;
    return state_.last_sent;
}

// Puts a set 2 sequence into the buffer, in set 1 when that is selected: the prefixes E0 and E1 stay, F0 becomes bit 7
// of the next code. When it does not fit, an overrun code takes the last place.
void Ps2Keyboard::send(std::initializer_list<u8> sequence) {
    if (state_.overrun) return;
    if (state_.keys.room() <= sequence.size()) {
        state_.overrun = true;
        state_.keys.push(state_.set == 1 ? 0xFF : 0x00);
        return;
    }
    u8 released = 0;
    for (const u8 byte : sequence) {
        if (state_.set != 1 || byte == 0xE0 || byte == 0xE1) {
            state_.keys.push(byte);
        } else if (byte == 0xF0) {
            released = 0x80;
        } else {
            state_.keys.push(set2_to_set1(byte) | released);
            released = 0;
        }
    }
}

// Print Screen and Pause send more than a code, and Print Screen something else with shift, control or alt held.
void Ps2Keyboard::send_special(Key key, bool pressed) {
    const bool control = is_down(Key::control_left) || is_down(Key::control_right);
    if (key == Key::pause) {
        if (!pressed) return; // Pause is make only.
        return control ? send({0xE0, 0x7E, 0xE0, 0xF0, 0x7E}) : send({0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77});
    }
    const bool shift = is_down(Key::shift_left) || is_down(Key::shift_right);
    if (is_down(Key::alt_left) || is_down(Key::alt_right)) return pressed ? send({0x84}) : send({0xF0, 0x84});
    if (control || shift) return pressed ? send({0xE0, 0x7C}) : send({0xE0, 0xF0, 0x7C});
    return pressed ? send({0xE0, 0x12, 0xE0, 0x7C}) : send({0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12});
}

void Ps2Keyboard::send_make(Key key) {
    const KeyCodes& codes = key_codes[static_cast<std::size_t>(key)];
    if (state_.set == 3) {
        if (codes.set3) send({codes.set3});
    } else if (key == Key::pause || key == Key::print_screen) {
        send_special(key, true);
    } else if (codes.extended) {
        send({0xE0, codes.set2});
    } else {
        send({codes.set2});
    }
}

void Ps2Keyboard::send_break(Key key) {
    const KeyCodes& codes = key_codes[static_cast<std::size_t>(key)];
    if (state_.set == 3) {
        if (codes.set3 && (state_.set3_types[codes.set3] & MAKE_BREAK)) send({0xF0, codes.set3});
    } else if (key == Key::pause || key == Key::print_screen) {
        send_special(key, false);
    } else if (codes.extended) {
        send({0xE0, 0xF0, codes.set2});
    } else {
        send({0xF0, codes.set2});
    }
}

// Typematic byte: bits 6-5 the delay in quarters of a second less one; the period is (8 + bits 2-0) << bits 4-3, in
// units of 4.17 ms.
Nanoseconds Ps2Keyboard::repeat_delay() const { return 250'000'000ull * (((state_.typematic >> 5) & 3) + 1); }
Nanoseconds Ps2Keyboard::repeat_period() const {
    return (8ull + (state_.typematic & 7)) * (1ull << ((state_.typematic >> 3) & 3)) * 4'170'000;
}

void Ps2Keyboard::key(Key key, bool pressed, Nanoseconds now) {
    if (key >= Key::count) return;
    u8& down = state_.down[static_cast<std::size_t>(key)];
    if (down == pressed) return;
    down = pressed;
    if (!pressed && state_.repeating == static_cast<u8>(key)) {
        state_.repeating = no_key;
        state_.repeat_deadline = never;
    }
    if (!state_.scanning) return;
    if (!pressed) return send_break(key);
    send_make(key);
    const u8 set3 = key_codes[static_cast<std::size_t>(key)].set3;
    const bool repeats = key != Key::pause && (state_.set != 3 || (state_.set3_types[set3] & TYPEMATIC));
    state_.repeating = repeats ? static_cast<u8>(key) : no_key;
    state_.repeat_deadline = repeats ? now + repeat_delay() : never;
}

// A guest that does not read gets no repetitions: they would only fill the buffer.
void Ps2Keyboard::repeat(Nanoseconds now) {
    if (state_.repeat_deadline == never || now < state_.repeat_deadline) return;
    if (state_.repeating >= no_key || !state_.scanning) {
        state_.repeat_deadline = never;
        return;
    }
    if (state_.keys.empty()) {
        const Key key = static_cast<Key>(state_.repeating);
        const KeyCodes& codes = key_codes[state_.repeating];
        if (key == Key::print_screen && state_.set != 3)
            send({0xE0, codes.set2}); // Without the shift codes around it.
        else
            send_make(key);
    }
    state_.repeat_deadline = now + repeat_period();
}

void Ps2Keyboard::serialize(Archive& archive) {
    State& s = state_;
    archive.section("keyboard", 1, [&](u32) {
        s.replies.serialize(archive, "replies");
        s.keys.serialize(archive, "keys");
        archive.field("pending_command", s.pending_command);
        archive.field("last_sent", s.last_sent);
        archive.field("leds", s.leds);
        archive.field("set", s.set);
        archive.field("typematic", s.typematic);
        archive.field("scanning", s.scanning);
        archive.field("overrun", s.overrun);
        archive.field("repeating", s.repeating);
        archive.field("repeat_deadline", s.repeat_deadline);
        archive.field("set3_types", s.set3_types);
        archive.field("down", s.down);
        if (archive.loading() && (s.set < 1 || s.set > 3 || s.repeating > no_key)) {
            archive.fail("the keyboard's state is out of range");
            s = {};
        }
    });
}

} // namespace calque::devices
