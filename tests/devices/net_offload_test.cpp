#include "tests/devices/net_test_support.h"

#include <gtest/gtest.h>

namespace calque::devices {
namespace {

using namespace test;

// RFC 1071, section 3: the worked example.
TEST(NetOffload, SumsAsTheRfcDoes) {
    const std::array<u8, 8> bytes{0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7};
    EXPECT_EQ(checksum_fold(checksum_add(0, bytes)), static_cast<u16>(~0xDDF2));
    EXPECT_EQ(checksum_fold(checksum_add(0, std::span(bytes).first(3))), static_cast<u16>(~0xF201));
}

// An IPv4 header whose checksum is known, b861 (from the literature on the algorithm).
TEST(NetOffload, FinishesAnIpHeader) {
    const std::array<u8, 20> header{0x45, 0, 0,    0x73, 0, 0, 0x40, 0,    0x40, 0x11,
                                    0,    0, 0xC0, 0xA8, 0, 1, 0xC0, 0xA8, 0,    0xC7};
    EXPECT_EQ(checksum_fold(checksum_add(0, header)), 0xB861);
}

TEST(NetOffload, APartialChecksumIsCompletedToTheWholeOne) {
    const std::vector<u8> whole = tcp_frame(1000, 100);
    std::vector<u8> frame = whole;
    finish_tcp(frame, *find_tcp(frame), true);
    EXPECT_NE(frame, whole);
    FrameOffload offload;
    offload.needs_checksum = true;
    offload.checksum_start = 34;
    offload.checksum_offset = 16;
    EXPECT_TRUE(complete_checksum(frame, offload));
    EXPECT_EQ(frame, whole);
}

TEST(NetOffload, AChecksumOutsideTheFrameIsRefused) {
    std::vector<u8> frame(60);
    FrameOffload offload;
    offload.checksum_start = 50;
    offload.checksum_offset = 9;
    EXPECT_FALSE(complete_checksum(frame, offload));
    offload.checksum_start = 0xFFFF;
    offload.checksum_offset = 0xFFFF;
    EXPECT_FALSE(complete_checksum(frame, offload));
}

TEST(NetOffload, CutsSegments) {
    const std::vector<u8> large = tcp_frame(0xFFFF'FF00, 3000, 0x19); // FIN, PSH, ACK.
    std::vector<std::vector<u8>> pieces;
    ASSERT_TRUE(cut_segments(large, 1460, [&](auto piece) { pieces.emplace_back(piece.begin(), piece.end()); }));
    ASSERT_EQ(pieces.size(), 3u);
    std::vector<u8> payload;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const auto& piece = pieces[i];
        EXPECT_TRUE(sound(piece));
        EXPECT_EQ(piece[47], i == 2 ? 0x19 : 0x10);
        EXPECT_EQ(piece[19], 0x34 + i);
        const u32 sequence = u32{piece[38]} << 24 | u32{piece[39]} << 16 | u32{piece[40]} << 8 | piece[41];
        EXPECT_EQ(sequence, static_cast<u32>(0xFFFF'FF00 + payload.size()));
        payload.insert(payload.end(), piece.begin() + 54, piece.end());
    }
    EXPECT_TRUE(std::equal(payload.begin(), payload.end(), large.begin() + 54, large.end()));
}

TEST(NetOffload, WhatIsNotTcpIsNotCut) {
    const auto none = [](std::span<const u8>) { FAIL(); };
    EXPECT_FALSE(cut_segments(frame_to({}, 2000), 1000, none));
    std::vector<u8> fragment = tcp_frame(1, 2000);
    fragment[20] = 0x20; // More fragments.
    EXPECT_FALSE(cut_segments(fragment, 1000, none));
    std::vector<u8> short_header = tcp_frame(1, 2000);
    short_header[46] = 0x40;
    EXPECT_FALSE(cut_segments(short_header, 1000, none));
    EXPECT_FALSE(cut_segments(tcp_frame(1, 2000), 0, none));
}

} // namespace
} // namespace calque::devices
