#include "devices/i8042/ps2_mouse.h"

#include <algorithm>
#include <cstdlib>

namespace calque::devices {

namespace {

// Commands from the system.
constexpr u8 SCALING_1_TO_1 = 0xE6, SCALING_2_TO_1 = 0xE7, SET_RESOLUTION = 0xE8, STATUS_REQUEST = 0xE9,
             SET_STREAM = 0xEA, READ_DATA = 0xEB, RESET_WRAP = 0xEC, SET_WRAP = 0xEE, SET_REMOTE = 0xF0, READ_ID = 0xF2,
             SET_SAMPLE_RATE = 0xF3, ENABLE = 0xF4, DISABLE = 0xF5, SET_DEFAULT = 0xF6, RESEND = 0xFE, RESET = 0xFF;
constexpr u8 ACK = 0xFA, BAT_OK = 0xAA;
constexpr u8 id_standard = 0, id_wheel = 3, id_five_buttons = 4;
constexpr i32 most_movement = 1 << 20; // Far above what a packet tells; keeps sums in range.

// 2:1 scaling, in stream mode only.
i32 scaled(i32 movement) {
    constexpr std::array<i32, 6> table{0, 1, 1, 3, 6, 9};
    const i32 size = std::abs(movement);
    const i32 result = size < 6 ? table[static_cast<std::size_t>(size)] : 2 * size;
    return movement < 0 ? -result : result;
}

} // namespace

void Ps2Mouse::power_on() {
    const u8 buttons = state_.buttons;
    state_ = {};
    state_.buttons = buttons;
}

void Ps2Mouse::set_defaults() {
    state_.sample_rate = 100;
    state_.resolution = 2;
    state_.scaling_2_to_1 = false;
    state_.reporting = false;
    state_.remote = false;
    clear_movement();
}

void Ps2Mouse::clear_movement() {
    state_.dx = state_.dy = state_.dz = 0;
    state_.changed = false;
}

void Ps2Mouse::reply(std::initializer_list<u8> bytes) { state_.output.push(bytes); }

void Ps2Mouse::receive(u8 byte) {
    log_.trace(Channel::keyboard, "mouse command {:02x}", byte);
    // A byte from the system ends whatever was on its way.
    if (byte != RESEND) state_.output.clear();
    const u8 command_waiting = state_.pending_command;
    state_.pending_command = no_command;
    if (state_.wrap && byte != RESET && byte != RESET_WRAP) return reply({byte});
    if (command_waiting != no_command)
        parameter(command_waiting, byte);
    else
        command(byte);
}

void Ps2Mouse::command(u8 value) {
    switch (value) {
    case SCALING_1_TO_1:
    case SCALING_2_TO_1: state_.scaling_2_to_1 = value == SCALING_2_TO_1; return reply({ACK});
    case SET_RESOLUTION:
    case SET_SAMPLE_RATE: state_.pending_command = value; return reply({ACK});
    case STATUS_REQUEST: {
        const u8 b = state_.buttons;
        const u8 swapped = static_cast<u8>((b & 1) << 2 | (b & 4) >> 1 | (b & 2) >> 1); // Left, middle, right.
        const u8 status =
            static_cast<u8>(state_.remote << 6 | state_.reporting << 5 | state_.scaling_2_to_1 << 4 | swapped);
        return reply({ACK, status, state_.resolution, state_.sample_rate});
    }
    case SET_STREAM:
        state_.remote = false;
        clear_movement();
        return reply({ACK});
    case READ_DATA: reply({ACK}); return send_packet();
    case RESET_WRAP: state_.wrap = false; return reply({ACK});
    case SET_WRAP: state_.wrap = true; return reply({ACK});
    case SET_REMOTE:
        state_.remote = true;
        clear_movement();
        return reply({ACK});
    case READ_ID: return reply({ACK, state_.id});
    case ENABLE:
        state_.reporting = true;
        clear_movement();
        return reply({ACK});
    case DISABLE:
        state_.reporting = false;
        clear_movement();
        return reply({ACK});
    case SET_DEFAULT: set_defaults(); return reply({ACK});
    case RESEND: return reply({state_.last_sent});
    case RESET: power_on(); return reply({ACK, BAT_OK, id_standard});
    default: return reply({RESEND});
    }
}

void Ps2Mouse::parameter(u8 command, u8 value) {
    if (command == SET_RESOLUTION) {
        if (value > 3) return reply({RESEND});
        state_.resolution = value;
    } else {
        if (value == 0) return reply({RESEND});
        set_rate(value);
    }
    reply({ACK});
}

// The sequence of rates 200, 100, 80 turns on the wheel; 200, 200, 80 then the extra buttons.
void Ps2Mouse::set_rate(u8 rate) {
    if (rate == 80 && state_.last_rates == std::array<u8, 2>{100, 200}) state_.id = id_wheel;
    if (rate == 80 && state_.last_rates == std::array<u8, 2>{200, 200} && state_.id == id_wheel)
        state_.id = id_five_buttons;
    state_.last_rates = {rate, state_.last_rates[0]};
    state_.sample_rate = rate;
}

u8 Ps2Mouse::next_output() {
    state_.last_sent = state_.output.pop();
    return state_.last_sent;
}

void Ps2Mouse::send_packet() {
    State& s = state_;
    const bool scale = s.scaling_2_to_1 && !s.remote;
    const i32 limit = scale ? 127 : 255;
    const i32 dx = std::clamp(s.dx, -limit, limit), dy = std::clamp(s.dy, -limit, limit);
    const i32 dz = std::clamp(s.dz, s.id == id_five_buttons ? -8 : -128, s.id == id_five_buttons ? 7 : 127);
    const i32 x = scale ? scaled(dx) : dx, y = scale ? scaled(dy) : dy;
    const u8 first = static_cast<u8>((s.buttons & 7) | 0x08 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0));
    bool sent = false;
    if (s.id == id_standard)
        sent = s.output.push({first, static_cast<u8>(x), static_cast<u8>(y)});
    else if (s.id == id_wheel)
        sent = s.output.push({first, static_cast<u8>(x), static_cast<u8>(y), static_cast<u8>(dz)});
    else
        sent = s.output.push(
            {first, static_cast<u8>(x), static_cast<u8>(y), static_cast<u8>((dz & 0x0F) | (s.buttons & 0x18) << 1)});
    if (!sent) return; // The system does not read: it all waits.
    s.reported_buttons = s.buttons;
    s.dx -= dx;
    s.dy -= dy;
    s.dz -= s.id == id_standard ? s.dz : dz;
    s.changed = s.dx || s.dy || s.dz; // What did not fit goes into the next report.
}

void Ps2Mouse::move(i32 dx, i32 dy, i32 dz, Nanoseconds now) {
    if (!state_.reporting && !state_.remote) return;
    const auto add = [](i32& sum, i32 value) {
        sum = static_cast<i32>(std::clamp<i64>(i64{sum} + value, -most_movement, most_movement));
    };
    add(state_.dx, dx);
    add(state_.dy, dy);
    add(state_.dz, dz);
    state_.changed = true;
    report_if_due(now);
}

void Ps2Mouse::button(MouseButton button, bool pressed, Nanoseconds now) {
    const u8 bit = static_cast<u8>(1 << static_cast<unsigned>(button));
    const u8 buttons = static_cast<u8>(pressed ? state_.buttons | bit : state_.buttons & ~bit);
    if (buttons == state_.buttons) return;
    // A change that still waits for its sample period goes out now, or a quick click would be lost.
    if (state_.buttons != state_.reported_buttons && state_.reporting && !state_.remote) send_packet();
    state_.buttons = buttons;
    state_.changed = true;
    report_if_due(now);
}

Nanoseconds Ps2Mouse::report_deadline() const {
    const bool waits = state_.changed && state_.reporting && !state_.remote && state_.output.empty();
    return waits ? state_.next_report : never;
}

void Ps2Mouse::report_if_due(Nanoseconds now) {
    if (report_deadline() > now) return;
    send_packet();
    state_.next_report = now + 1'000'000'000 / std::max<u8>(state_.sample_rate, 1);
}

void Ps2Mouse::serialize(Archive& archive) {
    State& s = state_;
    archive.section("mouse", 1, [&](u32) {
        s.output.serialize(archive, "output");
        archive.field("pending_command", s.pending_command);
        archive.field("last_sent", s.last_sent);
        archive.field("id", s.id);
        archive.field("sample_rate", s.sample_rate);
        archive.field("resolution", s.resolution);
        archive.field("scaling_2_to_1", s.scaling_2_to_1);
        archive.field("reporting", s.reporting);
        archive.field("remote", s.remote);
        archive.field("wrap", s.wrap);
        archive.field("last_rates", s.last_rates);
        archive.field("buttons", s.buttons);
        archive.field("reported_buttons", s.reported_buttons);
        archive.field("changed", s.changed);
        archive.field("dx", s.dx);
        archive.field("dy", s.dy);
        archive.field("dz", s.dz);
        archive.field("next_report", s.next_report);
        if (!archive.loading()) return;
        s.buttons &= 0x1F;
        s.dx = std::clamp(s.dx, -most_movement, most_movement);
        s.dy = std::clamp(s.dy, -most_movement, most_movement);
        s.dz = std::clamp(s.dz, -most_movement, most_movement);
    });
}

} // namespace calque::devices
