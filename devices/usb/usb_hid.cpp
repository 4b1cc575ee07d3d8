#include "devices/usb/usb_hid.h"

#include "devices/usb/hid_descriptors.h"

#include <algorithm>
#include <cstdlib>

namespace calque::devices {

namespace {

// USB 2.0, 9.4; HID 1.11, 7.2.
constexpr u8 GET_STATUS = 0, CLEAR_FEATURE = 1, SET_FEATURE = 3, SET_ADDRESS = 5, GET_DESCRIPTOR = 6,
             GET_CONFIGURATION = 8, SET_CONFIGURATION = 9, GET_INTERFACE = 10, SET_INTERFACE = 11;
constexpr u8 GET_REPORT = 1, GET_IDLE = 2, GET_PROTOCOL = 3, SET_REPORT = 9, SET_IDLE = 10, SET_PROTOCOL = 11;
constexpr u8 TYPE_CLASS = 1; // Bits 6:5 of the request's type.

constexpr unsigned report_endpoint = 1;
constexpr u8 first_modifier = 0xE0, modifiers = 8, rollover = 1;
constexpr std::size_t most_keys = 6;
// Reports that wait to be fetched; movement leaves room for what is pressed.
constexpr std::size_t most_waiting = 256, most_moving = 128;

} // namespace

UsbHid::UsbHid(Log& log, Kind kind, std::string serial, std::string name)
    : log_(log), kind_(kind), serial_(std::move(serial)), name_(std::move(name)) {}

UsbHid::~UsbHid() {
    if (socket_) socket_->pull(*this);
}

std::string_view UsbHid::title() const { return usb::title_of(kind_); }

// --- What is done

bool UsbHid::in_use() {
    std::lock_guard lock(mutex_);
    return state_.configuration != 0;
}

void UsbHid::key(Key key, bool pressed) {
    const u8 usage = key_codes[static_cast<std::size_t>(key)].usage;
    std::unique_lock lock(mutex_);
    if (kind_ != Kind::keyboard || usage == 0) return;
    state_.held.set(usage, pressed);
    report(std::move(lock), false);
}

void UsbHid::button(MouseButton button, bool pressed) {
    const u8 bit = static_cast<u8>(1u << static_cast<unsigned>(button));
    std::unique_lock lock(mutex_);
    if (kind_ == Kind::keyboard) return;
    state_.buttons = static_cast<u8>(pressed ? state_.buttons | bit : state_.buttons & ~bit);
    report(std::move(lock), false);
}

void UsbHid::move(i32 right, i32 down) {
    std::unique_lock lock(mutex_);
    if (kind_ == Kind::mouse) report(std::move(lock), true, right, down);
}

void UsbHid::scroll(i32 up) {
    std::unique_lock lock(mutex_);
    if (kind_ != Kind::keyboard) report(std::move(lock), false, 0, 0, up);
}

void UsbHid::place(u32 x, u32 y) {
    std::unique_lock lock(mutex_);
    if (kind_ != Kind::tablet) return;
    state_.x = static_cast<u16>(std::min(x, place_end - 1));
    state_.y = static_cast<u16>(std::min(y, place_end - 1));
    report(std::move(lock), true);
}

bool UsbHid::idle() {
    std::lock_guard lock(mutex_);
    return state_.waiting.empty();
}

u8 UsbHid::leds() {
    std::lock_guard lock(mutex_);
    return state_.leds;
}

UsbHid::Report UsbHid::compose(i8 right, i8 down, i8 up) const {
    Report report;
    auto& bytes = report.bytes;
    if (kind_ == Kind::keyboard) {
        for (unsigned i = 0; i < modifiers; ++i)
            bytes[0] = static_cast<u8>(bytes[0] | unsigned{state_.held[first_modifier + i]} << i);
        std::size_t count = 0;
        for (unsigned usage = 0; usage < first_modifier; ++usage) {
            if (!state_.held[usage]) continue;
            if (count < most_keys) bytes[2 + count] = static_cast<u8>(usage);
            ++count;
        }
        if (count > most_keys) std::fill(bytes.begin() + 2, bytes.end(), rollover);
        return report;
    }
    bytes[0] = state_.buttons;
    if (kind_ == Kind::mouse) {
        bytes[1] = static_cast<u8>(right);
        bytes[2] = static_cast<u8>(down);
        bytes[3] = static_cast<u8>(up);
        return report;
    }
    bytes[1] = static_cast<u8>(state_.x);
    bytes[2] = static_cast<u8>(state_.x >> 8);
    bytes[3] = static_cast<u8>(state_.y);
    bytes[4] = static_cast<u8>(state_.y >> 8);
    bytes[5] = static_cast<u8>(up);
    return report;
}

// Steps are signed bytes, so that a long way takes several reports; a movement that has not been fetched takes the next
// one in. The last place of a tablet is all that matters of those before it.
void UsbHid::report(std::unique_lock<std::mutex> lock, bool moves, i32 right, i32 down, i32 up) {
    if (state_.configuration == 0) return;
    auto& waiting = state_.waiting;
    constexpr i32 most = 127, most_steps = 16 * most;
    right = std::clamp(right, -most_steps, most_steps);
    down = std::clamp(down, -most_steps, most_steps);
    up = std::clamp(up, -most_steps, most_steps);
    if (moves && !waiting.empty() && waiting.back().moves) {
        const auto& last = waiting.back().bytes;
        if (kind_ == Kind::mouse) {
            right = std::clamp(right + static_cast<i8>(last[1]), -most_steps, most_steps);
            down = std::clamp(down + static_cast<i8>(last[2]), -most_steps, most_steps);
        }
        waiting.pop_back();
    }
    do {
        const auto part = [&](i32& steps) {
            const i32 now = std::clamp(steps, -most, most);
            steps -= now;
            return static_cast<i8>(now);
        };
        const i8 x = part(right), y = part(down), wheel = part(up);
        if (waiting.size() >= (moves ? most_moving : most_waiting)) break;
        waiting.push_back(compose(x, y, wheel));
        waiting.back().moves = moves;
    } while (right || down || up);
    lock.unlock();
    if (socket_) socket_->notice();
}

// --- Transfers

void UsbHid::bus_reset() {
    std::lock_guard lock(mutex_);
    state_ = {};
}

UsbAnswer UsbHid::in(unsigned endpoint, std::vector<u8>& data) {
    std::lock_guard lock(mutex_);
    if (endpoint != report_endpoint || state_.configuration == 0) return UsbAnswer::stall;
    if (state_.waiting.empty()) return UsbAnswer::nothing;
    const auto& bytes = state_.waiting.front().bytes;
    data.assign(bytes.begin(), bytes.begin() + usb::report_size(kind_));
    state_.waiting.pop_front();
    return UsbAnswer::done;
}

UsbAnswer UsbHid::control(const UsbSetup& setup, std::vector<u8>& data) {
    std::lock_guard lock(mutex_);
    const u8 type = setup.type >> 5 & 3;
    const UsbAnswer answer = type == TYPE_CLASS ? hid(setup, data)
                             : type == 0        ? standard(setup, data)
                                                : UsbAnswer::stall;
    if (answer == UsbAnswer::done && setup.to_host() && data.size() > setup.length) data.resize(setup.length);
    return answer;
}

UsbAnswer UsbHid::standard(const UsbSetup& setup, std::vector<u8>& data) {
    const auto give = [&](std::vector<u8> bytes) {
        if (!setup.to_host()) return UsbAnswer::stall;
        data = std::move(bytes);
        return UsbAnswer::done;
    };
    switch (setup.request) {
    case GET_STATUS: return give({0, 0});
    case GET_CONFIGURATION: return give({state_.configuration});
    case GET_INTERFACE: return give({0});
    case GET_DESCRIPTOR: {
        auto bytes = usb::descriptor(kind_, static_cast<u8>(setup.value >> 8), static_cast<u8>(setup.value), serial_);
        return bytes ? give(std::move(*bytes)) : UsbAnswer::stall;
    }
    case SET_CONFIGURATION:
        if (setup.value > 1) return UsbAnswer::stall;
        state_.configuration = static_cast<u8>(setup.value);
        state_.waiting.clear();
        return UsbAnswer::done;
    case SET_INTERFACE: return setup.value == 0 ? UsbAnswer::done : UsbAnswer::stall;
    case SET_ADDRESS:
    case CLEAR_FEATURE: // A halt, which this endpoint never has.
    case SET_FEATURE: return UsbAnswer::done;
    default: return UsbAnswer::stall;
    }
}

UsbAnswer UsbHid::hid(const UsbSetup& setup, std::vector<u8>& data) {
    switch (setup.request) {
    case GET_REPORT: {
        const Report now = compose(0, 0, 0);
        data.assign(now.bytes.begin(), now.bytes.begin() + usb::report_size(kind_));
        return UsbAnswer::done;
    }
    case GET_IDLE: data = {state_.idle_rate}; return UsbAnswer::done;
    case GET_PROTOCOL: data = {state_.protocol}; return UsbAnswer::done;
    case SET_REPORT: // Num, Caps, Scroll Lock from bit 0 on.
        if (kind_ != Kind::keyboard || data.empty()) return UsbAnswer::stall;
        state_.leds = static_cast<u8>((data[0] & 3) << 1 | (data[0] >> 2 & 1));
        return UsbAnswer::done;
    case SET_IDLE:
        state_.idle_rate = static_cast<u8>(setup.value >> 8);
        if (state_.idle_rate != 0) log_.unimplemented(Channel::bus, "usb-hid.repeated-reports");
        return UsbAnswer::done;
    case SET_PROTOCOL: state_.protocol = setup.value & 1; return UsbAnswer::done; // Both have the same reports.
    default: return UsbAnswer::stall;
    }
}

void UsbHid::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section(name_, 1, [&](u32) {
        archive.field("configuration", state_.configuration);
        archive.field("protocol", state_.protocol);
        archive.field("idle_rate", state_.idle_rate);
        archive.field("leds", state_.leds);
        archive.field("buttons", state_.buttons);
        archive.field("x", state_.x);
        archive.field("y", state_.y);
        std::array<u8, 256> held{};
        for (std::size_t i = 0; i < held.size(); ++i)
            held[i] = state_.held[i];
        archive.field("held", held);
        for (std::size_t i = 0; i < held.size() && archive.loading(); ++i)
            state_.held[i] = held[i] != 0;
        u64 count = state_.waiting.size();
        archive.field("waiting", count);
        if (count > most_waiting)
            return archive.fail(fmt::format("the saved {} has more reports than can wait", name_));
        state_.waiting.resize(count);
        for (Report& report : state_.waiting) {
            archive.field("report", report.bytes);
            archive.field("moves", report.moves);
        }
    });
}

} // namespace calque::devices
