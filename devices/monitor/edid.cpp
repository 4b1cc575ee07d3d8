#include "devices/monitor/edid.h"

#include <algorithm>
#include <string_view>

namespace calque::devices {

namespace {

using Edid = std::array<u8, 128>;

constexpr u32 millimetres(u32 pixels) { return pixels * 254 / 1000; } // At 100 dots per inch.

// Section 3.10.2: timings with short blanking, as flat panels take them.
void put_detailed_timing(u8* at, u32 width, u32 height) {
    constexpr u32 h_blank = 160, h_front = 48, h_sync = 32, v_blank = 35, v_front = 3, v_sync = 6;
    const u32 clock = (width + h_blank) * (height + v_blank) * 60 / 10000; // In 10 kHz.
    const u32 w = millimetres(width), h = millimetres(height);
    const auto high = [](u32 value) { return value >> 8 & 15; };
    const u32 bytes[18] = {clock,
                           clock >> 8,
                           width,
                           h_blank,
                           high(width) << 4 | high(h_blank),
                           height,
                           v_blank,
                           high(height) << 4 | high(v_blank),
                           h_front,
                           h_sync,
                           (v_front & 15) << 4 | (v_sync & 15),
                           (h_front >> 8 & 3) << 6 | (h_sync >> 8 & 3) << 4 | (v_front >> 4 & 3) << 2
                               | (v_sync >> 4 & 3),
                           w,
                           h,
                           high(w) << 4 | high(h),
                           0,
                           0,
                           0x1A}; // Digital separate sync, horizontal positive.
    std::transform(std::begin(bytes), std::end(bytes), at, [](u32 value) { return static_cast<u8>(value); });
}

// Section 3.10.3: a text of up to 13 characters.
void put_text(u8* at, u8 tag, std::string_view text) {
    std::fill(at, at + 18, u8{0});
    at[3] = tag;
    std::fill(at + 5, at + 18, u8{' '});
    std::copy(text.begin(), text.end(), at + 5);
    if (text.size() < 13) at[5 + text.size()] = '\n';
}

// Section 3.10.3.9: the ranges that it follows.
void put_limits(u8* at) {
    const u8 bytes[18] = {0, 0, 0, 0xFD, 0, 50, 125, 30, 160, 120, 1, '\n', ' ', ' ', ' ', ' ', ' ', ' '};
    std::copy(std::begin(bytes), std::end(bytes), at);
}

} // namespace

Edid make_edid(u32 width, u32 height) {
    width = std::clamp<u32>(width, 64, 4095);
    height = std::clamp<u32>(height, 64, 4095);
    Edid e{};
    std::fill(e.begin() + 1, e.begin() + 7, u8{0xFF});
    constexpr unsigned maker = ('C' - '@') << 10 | ('L' - '@') << 5 | ('Q' - '@'); // Three letters of 5 bits.
    e[8] = maker >> 8;
    e[9] = maker & 0xFF;
    e[10] = 0x34; // Product.
    e[11] = 0x12;
    e[16] = 1; // Week and year of making, from 1990.
    e[17] = 36;
    e[18] = 1;
    e[19] = 4;
    e[20] = 0xA5; // Digital, 8 bits per colour, DisplayPort.
    e[21] = static_cast<u8>(std::min<u32>(millimetres(width) / 10, 255));
    e[22] = static_cast<u8>(std::min<u32>(millimetres(height) / 10, 255));
    e[23] = 120;  // Gamma 2.2.
    e[24] = 0x06; // sRGB; the first detailed timing is the preferred one.
    constexpr u8 srgb[10] = {0xEE, 0x91, 0xA3, 0x54, 0x4C, 0x99, 0x26, 0x0F, 0x50, 0x54};
    std::copy(std::begin(srgb), std::end(srgb), e.begin() + 25);
    e[35] = 0x21; // Established: 640x480 and 800x600,
    e[36] = 0x08; // 1024x768, each at 60 Hz.
    struct Standard {
        u8 width, shape; // Width / 8 - 31; aspect in bits 7:6 (0: 16:10, 1: 4:3, 2: 5:4, 3: 16:9), 60 Hz.
    };
    constexpr Standard standard[8] = {{1920 / 8 - 31, 0xC0}, {1280 / 8 - 31, 0xC0}, {1280 / 8 - 31, 0x80},
                                      {1440 / 8 - 31, 0x00}, {1680 / 8 - 31, 0x00}, {1920 / 8 - 31, 0x00},
                                      {1600 / 8 - 31, 0x40}, {1280 / 8 - 31, 0x00}};
    for (unsigned i = 0; i < 8; ++i) {
        e[38 + 2 * i] = standard[i].width;
        e[39 + 2 * i] = standard[i].shape;
    }
    put_detailed_timing(&e[54], width, height);
    put_limits(&e[72]);
    put_text(&e[90], 0xFC, "Calque");
    put_text(&e[108], 0xFF, "1");
    u8 sum = 0;
    for (const u8 byte : e)
        sum = static_cast<u8>(sum + byte);
    e[127] = static_cast<u8>(-sum);
    return e;
}

} // namespace calque::devices
