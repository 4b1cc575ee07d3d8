#include "devices/virtio/virtio_input.h"

#include "base/byte_order.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio;

namespace {

// Virtio 1.2, 5.8.2 and 5.8.4.
constexpr unsigned event_queue = 0, status_queue = 1;
constexpr u8 CFG_ID_NAME = 0x01, CFG_ID_SERIAL = 0x02, CFG_ID_DEVIDS = 0x03, CFG_EV_BITS = 0x11, CFG_ABS_INFO = 0x12;
constexpr std::size_t answer_offset = 8, longest_answer = 128, event_size = 8;

// Linux's input-event-codes.h.
constexpr u8 EV_SYN = 0x00, EV_KEY = 0x01, EV_REL = 0x02, EV_ABS = 0x03, EV_LED = 0x11, EV_REP = 0x14;
constexpr u16 REL_X = 0x00, REL_Y = 0x01, REL_WHEEL = 0x08, ABS_X = 0x00, ABS_Y = 0x01;
constexpr u16 LED_NUML = 0x00, LED_CAPSL = 0x01, LED_SCROLLL = 0x02;
constexpr u16 REP_DELAY = 0x00, REP_PERIOD = 0x01, BUS_VIRTUAL = 0x06;
constexpr std::array<u16, 5> button_codes{0x110, 0x111, 0x112, 0x113, 0x114}; // BTN_LEFT on, by MouseButton.

// Events that wait for buffers; movements leave room for keys and buttons, whose loss is felt.
constexpr std::size_t most_waiting = 1024, most_moving = 512;
constexpr unsigned most_chains_a_turn = 64;

} // namespace

VirtioInput::VirtioInput(Log& log, DmaPort& memory, Worker& worker, Kind kind, std::string serial, std::string name)
    : VirtioDevice(log, memory, Id::input, std::move(name), 0), kind_(kind), serial_(std::move(serial)) {
    constexpr u16 size = 64;
    add_queue(worker, size, [this] { send_events(); });
    add_queue(worker, size, [this] { take_status(); });
}

std::string_view VirtioInput::title() const {
    return kind_ == Kind::keyboard ? "virtio keyboard" : kind_ == Kind::mouse ? "virtio mouse" : "virtio tablet";
}

// --- From the host

bool VirtioInput::in_use() {
    std::lock_guard lock(mutex());
    return running() && virtqueue(event_queue).usable();
}

// A report ends with SYN_REPORT and is kept whole or not at all. A tablet's place that has not gone yet gives way to
// the newer one: a guest that is slow shall not run after the hand.
void VirtioInput::report(std::initializer_list<Event> events, std::size_t room) {
    std::lock_guard lock(mutex());
    auto& waiting = state_.waiting;
    if (!running()) return;
    const std::size_t count = events.size() + 1;
    const auto is_place = [](const Event& event) { return event.type == EV_ABS; };
    const bool again = is_place(*events.begin()) && waiting.size() >= count && is_place(waiting[waiting.size() - count])
                       && is_place(waiting[waiting.size() - count + 1]);
    if (again) waiting.erase(waiting.end() - static_cast<std::ptrdiff_t>(count), waiting.end());
    if (waiting.size() + count > room) return;
    waiting.insert(waiting.end(), events);
    waiting.push_back({EV_SYN, 0, 0});
    schedule(event_queue);
}

void VirtioInput::key(Key key, bool pressed) {
    if (kind_ == Kind::keyboard)
        report({{EV_KEY, key_codes[static_cast<std::size_t>(key)].event, pressed}}, most_waiting);
}

void VirtioInput::button(MouseButton button, bool pressed) {
    if (kind_ != Kind::keyboard)
        report({{EV_KEY, button_codes[static_cast<std::size_t>(button)], pressed}}, most_waiting);
}

void VirtioInput::move(i32 right, i32 down) {
    if (kind_ == Kind::mouse)
        report({{EV_REL, REL_X, static_cast<u32>(right)}, {EV_REL, REL_Y, static_cast<u32>(down)}}, most_moving);
}

void VirtioInput::scroll(i32 up) {
    if (kind_ != Kind::keyboard) report({{EV_REL, REL_WHEEL, static_cast<u32>(up)}}, most_moving);
}

void VirtioInput::place(u32 x, u32 y) {
    if (kind_ == Kind::tablet)
        report({{EV_ABS, ABS_X, std::min(x, place_end - 1)}, {EV_ABS, ABS_Y, std::min(y, place_end - 1)}}, most_moving);
}

bool VirtioInput::idle() {
    std::lock_guard lock(mutex());
    return state_.waiting.empty();
}

u8 VirtioInput::leds() {
    std::lock_guard lock(mutex());
    return state_.leds;
}

// --- Queues

void VirtioInput::send_events() {
    auto& waiting = state_.waiting;
    VirtioChain chain;
    while (!waiting.empty() && pop(event_queue, chain)) {
        std::array<u8, event_size> bytes{};
        store_little(bytes, 0, waiting.front().type, 2);
        store_little(bytes, 2, waiting.front().code, 2);
        store_little(bytes, 4, waiting.front().value, 4);
        if (chain.writable_bytes() < bytes.size()) return needs_reset("a buffer is too short for an event");
        if (!chain.write(memory(), 0, bytes)) return needs_reset("a buffer is not in memory");
        push(event_queue, chain.head, event_size);
        waiting.pop_front();
    }
    interrupt_if_wanted(event_queue);
}

// 5.8.6.2: of what a driver sends, lamps are all that these devices have.
void VirtioInput::take_status() {
    VirtioChain chain;
    for (unsigned taken = 0; pop(status_queue, chain); ++taken) {
        std::array<u8, event_size> bytes{};
        if (chain.readable_bytes() >= bytes.size()) {
            if (!chain.read(memory(), 0, bytes)) return needs_reset("a status is not in memory");
            const u16 code = little16(bytes, 2);
            if (little16(bytes, 0) == EV_LED && code <= LED_SCROLLL) {
                const unsigned bit = code == LED_SCROLLL ? 0 : code == LED_NUML ? 1 : 2;
                state_.leds = static_cast<u8>((state_.leds & ~(1u << bit)) | unsigned{little32(bytes, 4) != 0} << bit);
            }
        }
        push(status_queue, chain.head, 0);
        if (taken == most_chains_a_turn) {
            schedule(status_queue);
            break;
        }
    }
    interrupt_if_wanted(status_queue);
}

// --- Configuration

// The codes of one type of event that the device has, a bit for each.
std::vector<u8> VirtioInput::bitmap(u8 type) const {
    std::vector<u8> bits;
    const auto set = [&](u16 code) {
        if (bits.size() <= code / 8u) bits.resize(code / 8u + 1);
        bits[code / 8u] = static_cast<u8>(bits[code / 8u] | 1u << code % 8);
    };
    const bool keyboard = kind_ == Kind::keyboard;
    if (type == EV_KEY && keyboard)
        for (const KeyCodes& codes : key_codes)
            set(codes.event);
    if (type == EV_KEY && !keyboard)
        for (const u16 code : button_codes)
            set(code);
    if (type == EV_LED && keyboard)
        for (const u16 code : {LED_NUML, LED_CAPSL, LED_SCROLLL})
            set(code);
    if (type == EV_REP && keyboard)
        for (const u16 code : {REP_DELAY, REP_PERIOD})
            set(code);
    if (type == EV_REL && kind_ == Kind::mouse)
        for (const u16 code : {REL_X, REL_Y})
            set(code);
    if (type == EV_REL && !keyboard) set(REL_WHEEL);
    if (type == EV_ABS && kind_ == Kind::tablet)
        for (const u16 code : {ABS_X, ABS_Y})
            set(code);
    return bits;
}

// What the driver has selected; nothing for what the device does not have.
std::vector<u8> VirtioInput::answer() const {
    const auto bytes_of = [](std::string_view text) { return std::vector<u8>(text.begin(), text.end()); };
    switch (state_.select) {
    case CFG_ID_NAME: return bytes_of(title());
    case CFG_ID_SERIAL: return bytes_of(serial_);
    case CFG_ID_DEVIDS: {
        constexpr u16 vendor = 0x0627, version = 1;
        std::vector<u8> ids(8);
        store_little(ids, 0, BUS_VIRTUAL, 2);
        store_little(ids, 2, vendor, 2);
        store_little(ids, 4, static_cast<u64>(kind_) + 1, 2);
        store_little(ids, 6, version, 2);
        return ids;
    }
    case CFG_EV_BITS: return bitmap(state_.subselect);
    case CFG_ABS_INFO: {
        if (kind_ != Kind::tablet || state_.subselect > ABS_Y) return {};
        std::vector<u8> range(20); // From 0, without fuzz, flat and resolution.
        store_little(range, 4, place_end - 1, 4);
        return range;
    }
    default: return {};
    }
}

std::vector<u8> VirtioInput::config() {
    std::vector<u8> selected = answer();
    selected.resize(std::min(selected.size(), longest_answer));
    std::vector<u8> bytes(config_size);
    bytes[0] = state_.select;
    bytes[1] = state_.subselect;
    bytes[2] = static_cast<u8>(selected.size());
    std::copy(selected.begin(), selected.end(), bytes.begin() + answer_offset);
    return bytes;
}

void VirtioInput::config_written(u64 offset, u64 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
        const u8 byte = static_cast<u8>(value >> (8 * i));
        if (offset + i == 0) state_.select = byte;
        if (offset + i == 1) state_.subselect = byte;
    }
}

void VirtioInput::save(Archive& archive) {
    archive.field("select", state_.select);
    archive.field("subselect", state_.subselect);
    archive.field("leds", state_.leds);
    u64 count = state_.waiting.size();
    archive.field("waiting", count);
    if (count > most_waiting) return archive.fail("more events wait than can");
    state_.waiting.resize(count);
    for (Event& event : state_.waiting) {
        archive.field("type", event.type);
        archive.field("code", event.code);
        archive.field("value", event.value);
    }
}

} // namespace calque::devices
