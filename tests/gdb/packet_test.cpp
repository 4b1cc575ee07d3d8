#include "frontend/gdb/packet.h"

#include <gtest/gtest.h>
#include <vector>

namespace calque::gdb {
namespace {

using Event = PacketReader::Event;

// What comes of the bytes: the packets' contents, and a word for everything else.
std::vector<std::string> read(std::string_view bytes) {
    PacketReader reader;
    std::vector<std::string> events;
    for (const char c : bytes) {
        switch (reader.take(static_cast<u8>(c))) {
        case Event::none: break;
        case Event::packet: events.push_back(reader.packet()); break;
        case Event::damaged: events.push_back("(damaged)"); break;
        case Event::interrupt: events.push_back("(interrupt)"); break;
        case Event::refused: events.push_back("(refused)"); break;
        }
    }
    return events;
}
using Events = std::vector<std::string>;

// A reply as a debugger reads it.
std::string expand(std::string_view packet) {
    std::string text;
    packet = packet.substr(1, packet.rfind('#') - 1);
    for (std::size_t at = 0; at < packet.size(); ++at) {
        if (packet[at] == '}')
            text += static_cast<char>(packet[++at] ^ 0x20);
        else if (packet[at] == '*')
            text.append(static_cast<std::size_t>(packet[++at] - 29), text.back());
        else
            text += packet[at];
    }
    return text;
}

TEST(GdbPacket, ComesWholeHoweverItIsTorn) {
    EXPECT_EQ(read("$g#67"), Events{"g"});
    EXPECT_EQ(read("+$m0,4#fd+$?#3f"), (Events{"m0,4", "?"}));
    EXPECT_EQ(read("$#00"), Events{""});
}

TEST(GdbPacket, EscapesAreUndone) {
    EXPECT_EQ(read("$a}\x03}]#bb"), Events{"a#}"}); // The checksum is of the bytes as they are sent.
}

TEST(GdbPacket, DamageIsNoticed) {
    EXPECT_EQ(read("$g#68"), Events{"(damaged)"});
    EXPECT_EQ(read("$g#6x"), Events{"(damaged)"});
    EXPECT_EQ(read("$g#68$g#67"), (Events{"(damaged)", "g"}));
    EXPECT_EQ(read("$" + std::string(longest_packet + 1, 'a') + "#61"), Events{"(damaged)"});
}

TEST(GdbPacket, InterruptsAndRefusalsBetweenPackets) {
    EXPECT_EQ(read("\x03-noise$g#67\x03"), (Events{"(interrupt)", "(refused)", "g", "(interrupt)"}));
    EXPECT_EQ(read("$a\x03#64"), Events{"a\x03"}) << "within a packet it is data";
}

TEST(GdbPacket, ChecksumOfAReply) {
    EXPECT_EQ(make_packet("OK"), "$OK#9a");
    EXPECT_EQ(make_packet(""), "$#00");
}

TEST(GdbPacket, RunsAndEscapesOfAReplyExpandToTheSame) {
    EXPECT_EQ(make_packet("00000000").substr(0, 5), "$0*\"0") << "seven more is no count: $";
    for (const char c : {'0', 'x', '#', '$', '}', '*', '\0', '\xFF'})
        for (std::size_t length = 0; length < 300; ++length) {
            const std::string text = "a" + std::string(length, c) + "b";
            const std::string packet = make_packet(text);
            ASSERT_EQ(expand(packet), text);
            ASSERT_EQ(packet.find('#'), packet.size() - 3);
            ASSERT_EQ(packet.rfind('$'), 0u);
        }
}

TEST(GdbPacket, FieldsOfNumbers) {
    Fields fields("1F,ffffffffffffffff:rest");
    EXPECT_EQ(fields.number(), 0x1Fu);
    EXPECT_TRUE(fields.skip(','));
    EXPECT_EQ(fields.number(), ~u64{0});
    EXPECT_FALSE(fields.skip(','));
    EXPECT_TRUE(fields.skip(':'));
    EXPECT_EQ(fields.number(), std::nullopt);
    EXPECT_EQ(fields.rest(), "rest");
    EXPECT_EQ(Fields("10000000000000000").number(), std::nullopt) << "more than 64 bits";
    EXPECT_EQ(bytes_of_hex("6a6B"), "jk");
    EXPECT_EQ(bytes_of_hex("6"), std::nullopt);
    EXPECT_EQ(bytes_of_hex("6g"), std::nullopt);
}

} // namespace
} // namespace calque::gdb
