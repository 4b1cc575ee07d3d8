#include "frontend/gdb/packet.h"

namespace calque::gdb {

namespace {
constexpr char digits[] = "0123456789abcdef";
constexpr char escape = '}', run = '*';
constexpr u8 interrupt_byte = 3;
// A run is a character, *, and the number of repetitions as a printable character.
constexpr unsigned run_bias = 29, shortest_run = 3, longest_run = 126 - run_bias;

bool special(char c) { return c == '#' || c == '$' || c == escape || c == run; }

// The repetitions that one run can stand for: neither # nor $ may be its count.
unsigned run_of(unsigned repetitions) {
    const unsigned most = repetitions < longest_run ? repetitions : longest_run;
    const unsigned forbidden_first = '#' - run_bias;
    return most == forbidden_first || most == forbidden_first + 1 ? forbidden_first - 1 : most;
}
} // namespace

PacketReader::Event PacketReader::take(u8 byte) {
    switch (state_) {
    case State::outside:
        if (byte == interrupt_byte) return Event::interrupt;
        if (byte == '-') return Event::refused;
        if (byte != '$') return Event::none; // An acknowledgement, or noise.
        packet_.clear();
        sum_ = 0;
        too_long_ = bad_digit_ = false;
        state_ = State::inside;
        return Event::none;
    case State::inside:
        if (byte == '#') {
            state_ = State::first_digit;
            return Event::none;
        }
        sum_ = static_cast<u8>(sum_ + byte);
        if (byte == escape)
            state_ = State::escaped;
        else if (packet_.size() < longest_packet)
            packet_ += static_cast<char>(byte);
        else
            too_long_ = true;
        return Event::none;
    case State::escaped:
        sum_ = static_cast<u8>(sum_ + byte);
        if (packet_.size() < longest_packet)
            packet_ += static_cast<char>(byte ^ 0x20);
        else
            too_long_ = true;
        state_ = State::inside;
        return Event::none;
    case State::first_digit:
    case State::second_digit: return finish(byte);
    }
    return Event::none;
}

PacketReader::Event PacketReader::finish(u8 byte) {
    const auto digit = hex_digit(static_cast<char>(byte));
    bad_digit_ |= !digit;
    if (state_ == State::first_digit) {
        checksum_ = digit.value_or(0) << 4;
        state_ = State::second_digit;
        return Event::none;
    }
    state_ = State::outside;
    checksum_ |= digit.value_or(0);
    return bad_digit_ || too_long_ || checksum_ != sum_ ? Event::damaged : Event::packet;
}

std::string make_packet(std::string_view contents) {
    std::string packet = "$";
    for (std::size_t at = 0; at < contents.size();) {
        const char c = contents[at++];
        if (special(c)) {
            packet += escape;
            packet += static_cast<char>(c ^ 0x20);
            continue;
        }
        packet += c;
        unsigned repetitions = 0;
        while (at + repetitions < contents.size() && contents[at + repetitions] == c && repetitions < longest_run)
            ++repetitions;
        if (repetitions < shortest_run) continue;
        const unsigned length = run_of(repetitions);
        packet += run;
        packet += static_cast<char>(length + run_bias);
        at += length;
    }
    u8 sum = 0;
    for (const char c : std::string_view(packet).substr(1))
        sum = static_cast<u8>(sum + static_cast<u8>(c));
    packet += '#';
    packet += digits[sum >> 4];
    packet += digits[sum & 15];
    return packet;
}

std::string to_hex(std::span<const u8> bytes) {
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const u8 byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

std::string to_hex(std::string_view text) { return to_hex({reinterpret_cast<const u8*>(text.data()), text.size()}); }

std::optional<unsigned> hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return std::nullopt;
}

std::optional<std::string> bytes_of_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::string bytes;
    for (std::size_t at = 0; at < text.size(); at += 2) {
        const auto high = hex_digit(text[at]), low = hex_digit(text[at + 1]);
        if (!high || !low) return std::nullopt;
        bytes += static_cast<char>(*high << 4 | *low);
    }
    return bytes;
}

std::optional<u64> Fields::number() {
    u64 value = 0;
    std::size_t count = 0;
    while (count < text_.size() && hex_digit(text_[count])) {
        value = value << 4 | *hex_digit(text_[count]);
        if (++count > 16) return std::nullopt;
    }
    if (count == 0) return std::nullopt;
    text_.remove_prefix(count);
    return value;
}

std::string_view Fields::until(char separator) {
    const std::size_t at = text_.find(separator);
    const std::string_view field = text_.substr(0, at);
    text_.remove_prefix(at == text_.npos ? text_.size() : at + 1);
    return field;
}

} // namespace calque::gdb
