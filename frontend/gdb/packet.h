// The packets of gdb's remote protocol (the gdb manual, appendix E.1): $DATA#CHECKSUM, acknowledged by + or -, with
// escapes, runs, and 03h from the debugger at any time.
#pragma once

#include "base/types.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace calque::gdb {

inline constexpr std::size_t longest_packet = 0x4000; // Bytes between $ and #.

// Cuts what a debugger sends into packets, however it is torn.
class PacketReader {
  public:
    enum class Event : u8 {
        none,
        packet,    // packet() is its contents, escapes undone.
        damaged,   // Wrong checksum, or too long: to be sent again.
        interrupt, // 03h between packets.
        refused,   // -: what was sent last is to be sent again.
    };
    Event take(u8 byte);
    const std::string& packet() const { return packet_; }

  private:
    enum class State : u8 { outside, inside, escaped, first_digit, second_digit };
    Event finish(u8 byte);

    State state_ = State::outside;
    std::string packet_;
    u8 sum_ = 0;
    unsigned checksum_ = 0;
    bool too_long_ = false, bad_digit_ = false;
};

// The whole packet: what is special is escaped, runs are shortened, the checksum is added.
std::string make_packet(std::string_view contents);

// --- Numbers and bytes as hexadecimal digits.
std::string to_hex(std::span<const u8> bytes);
std::string to_hex(std::string_view text);
std::optional<unsigned> hex_digit(char c);
// Two digits a byte; nothing when there are others or an odd number.
std::optional<std::string> bytes_of_hex(std::string_view digits);

// Reads a packet's fields one after the other.
class Fields {
  public:
    explicit Fields(std::string_view text) : text_(text) {}
    bool empty() const { return text_.empty(); }
    std::string_view rest() const { return text_; }
    // A number of 1 to 16 hexadecimal digits.
    std::optional<u64> number();
    bool skip(char c) {
        if (!text_.starts_with(c)) return false;
        text_.remove_prefix(1);
        return true;
    }
    bool skip(std::string_view word) {
        if (!text_.starts_with(word)) return false;
        text_.remove_prefix(word.size());
        return true;
    }
    // Up to the next separator, which goes too; or all.
    std::string_view until(char separator);

  private:
    std::string_view text_;
};

} // namespace calque::gdb
