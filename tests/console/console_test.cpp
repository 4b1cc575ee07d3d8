#include "frontend/console/guest_input.h"
#include "frontend/console/hotkeys.h"
#include "frontend/console/keyboard.h"
#include "frontend/console/layouts.h"
#include "frontend/console/scaler.h"

#include <gtest/gtest.h>
#include <set>

namespace calque::console {
namespace {

using devices::Key;

TEST(Keyboard, EveryKeyOfTheGuestIsSomewhere) {
    std::set<Key> reached;
    for (unsigned scancode = 0; scancode < 512; ++scancode)
        if (const auto key = key_at(scancode)) reached.insert(*key);
    reached.insert(Key::wake); // No host has it.
    for (unsigned i = 0; i < static_cast<unsigned>(Key::count); ++i)
        EXPECT_TRUE(reached.contains(static_cast<Key>(i))) << devices::key_codes[i].name;
    EXPECT_EQ(key_at(4), Key::a);
    EXPECT_EQ(key_at(0x52), Key::up);
    EXPECT_EQ(key_at(0x63), Key::pad_period);
    EXPECT_EQ(key_at(0xE6), Key::alt_right);
    EXPECT_FALSE(key_at(0));
    EXPECT_FALSE(key_at(511));
}

TEST(Keyboard, KeysThatAreHeldAreReleasedOnce) {
    std::vector<std::pair<Key, bool>> sent;
    HeldKeys keys([&](Key key, bool pressed) { sent.emplace_back(key, pressed); });
    keys.press(Key::a);
    keys.press(Key::a);
    keys.release_all();
    keys.release(Key::a);
    EXPECT_EQ(sent, (std::vector<std::pair<Key, bool>>{{Key::a, true}, {Key::a, false}}));
}

TEST(Hotkeys, HelpNamesThemAll) {
    const std::string help = help_text({"the guest's screen", "monitor"});
    for (unsigned scancode = 4; scancode < 30; ++scancode) {
        const bool named = help.find(std::string("\n  ") + static_cast<char>('A' + scancode - 4) + "  ") != help.npos;
        EXPECT_EQ(named, action_of(scancode).has_value());
    }
    EXPECT_NE(help.find("\n  2  monitor\n"), help.npos);
    EXPECT_EQ(console_of(30), 0u);
    EXPECT_EQ(console_of(38), 8u);
    EXPECT_FALSE(console_of(39)); // Ctrl-Alt-0.
    int lines = 0;
    for (const char c : help)
        lines += c == '\n';
    EXPECT_LT(lines, 25);
}

TEST(Layouts, EveryCharacterOfAsciiIsOnEachLayout) {
    for (const char* name : {"en-us", "en-gb", "de", "fr"}) {
        const Layout* const layout = find_layout(name);
        ASSERT_NE(layout, nullptr) << name;
        for (char32_t c = 0x20; c < 0x7F; ++c) {
            if (std::string_view(name) != "en-us" && (c == U'^' || c == U'`' || c == U'~')) continue; // Dead keys.
            EXPECT_TRUE(stroke_for(*layout, c)) << name << " " << static_cast<char>(c);
        }
    }
    EXPECT_EQ(find_layout("xx"), nullptr);
    const auto z = stroke_for(*find_layout("de"), U'z');
    EXPECT_EQ(z->key, Key::y);
    const auto at = stroke_for(*find_layout("de"), U'@');
    EXPECT_TRUE(at->key == Key::q && at->alt_gr && !at->shift);
    const auto capital = stroke_for(*find_layout("en-us"), U'Q');
    EXPECT_TRUE(capital->key == Key::q && capital->shift);
    EXPECT_FALSE(stroke_for(*find_layout("en-us"), U'€'));
}

TEST(Layouts, TextIsUtf8) {
    EXPECT_EQ(characters_of("a\xC3\xA9\r\nb\rc\xFF\xE2\x82"), (std::vector<char32_t>{'a', 0xE9, '\n', 'b', '\n', 'c'}));
}

TEST(Paste, WhatCannotBeTypedIsTold) {
    EXPECT_EQ(describe(GuestInput::Pasted{.typed = 10}, "en-us"), "");
    EXPECT_EQ(describe(GuestInput::Pasted{.typed = 10, .unknown = 2}, "de"),
              "2 of the 12 characters are on no key of the guest's keyboard (-k de)");
    EXPECT_EQ(describe(GuestInput::Pasted{.typed = 100'000, .too_many = 1}, "en-us"),
              "only 100000 characters are typed at a time");
}

TEST(Scaler, PlacesInTheMiddle) {
    EXPECT_EQ(place(640, 480, 640, 480, Scaling::smooth), (Rect{0, 0, 640, 480}));
    EXPECT_EQ(place(640, 480, 1500, 1000, Scaling::whole), (Rect{110, 20, 1280, 960}));
    EXPECT_EQ(place(640, 480, 1500, 1000, Scaling::smooth), (Rect{83, 0, 1333, 1000}));
    EXPECT_EQ(place(640, 480, 320, 480, Scaling::whole), (Rect{0, 120, 320, 240})); // It does not fit: smaller.
    EXPECT_EQ(place(640, 480, 1, 1, Scaling::smooth), (Rect{0, 0, 1, 1}));
    EXPECT_EQ(place(0, 0, 10, 10, Scaling::smooth), Rect{});
}

devices::Surface checkered(u32 width, u32 height) {
    devices::Surface surface;
    surface.resize(width, height);
    for (u32 y = 0; y < height; ++y)
        for (u32 x = 0; x < width; ++x)
            surface.row(y)[x] = (x + y) % 2 ? 0xFF8040 : x * 3 + y;
    return surface;
}

TEST(Scaler, WholeFactorsRepeatDots) {
    const auto picture = checkered(5, 4);
    for (u32 factor : {1u, 2u, 3u}) {
        std::vector<u32> pixels(20 * 20, 7);
        const Canvas canvas{pixels.data(), 20, 20, 20};
        const Rect where = place(5, 4, 20, 20, Scaling::whole);
        const Rect mine{1, 2, static_cast<i32>(5 * factor), static_cast<i32>(4 * factor)};
        EXPECT_EQ(draw_scaled(picture, 0, 4, canvas, mine), mine);
        for (u32 y = 0; y < 4 * factor; ++y)
            for (u32 x = 0; x < 5 * factor; ++x)
                ASSERT_EQ(pixels[(y + 2) * 20 + x + 1], picture.row(y / factor)[x / factor]);
        EXPECT_EQ(pixels[0], 7u);
        EXPECT_EQ(where.width, 20);
    }
}

// A part drawn anew leaves the same picture as all of it: nothing of the rows beside is missing.
TEST(Scaler, RowsDrawnAloneAreThoseOfTheWhole) {
    for (const auto& [width, height] : {std::pair{23u, 17u}, std::pair{7u, 5u}, std::pair{64u, 31u}}) {
        auto picture = checkered(20, 15);
        std::vector<u32> parts(width * height), whole(width * height);
        const Canvas canvas{parts.data(), width, width, height};
        const Rect where{0, 0, static_cast<i32>(width), static_cast<i32>(height)};
        draw_scaled(picture, 0, 15, canvas, where);
        for (u32 y = 6; y < 9; ++y)
            for (u32 x = 0; x < 20; ++x)
                picture.row(y)[x] = 0x123456 + x;
        draw_scaled(picture, 6, 9, canvas, where);
        draw_scaled(picture, 0, 15, {whole.data(), width, width, height}, where);
        EXPECT_EQ(parts, whole);
    }
}

TEST(Scaler, OneColorStaysThatColor) {
    devices::Surface picture;
    picture.resize(10, 10);
    std::fill(picture.pixels.begin(), picture.pixels.end(), 0xFFFFFF);
    std::vector<u32> pixels(37 * 23);
    draw_scaled(picture, 0, 10, {pixels.data(), 37, 37, 23}, {0, 0, 37, 23});
    EXPECT_EQ(pixels, std::vector<u32>(37 * 23, 0xFFFFFF));
}

TEST(Scaler, AroundThePictureIsBlack) {
    std::vector<u32> pixels(10 * 10, 5);
    clear_around({pixels.data(), 10, 10, 10}, {2, 3, 4, 5});
    for (u32 y = 0; y < 10; ++y)
        for (u32 x = 0; x < 10; ++x)
            EXPECT_EQ(pixels[y * 10 + x], x >= 2 && x < 6 && y >= 3 && y < 8 ? 5u : 0u);
}

} // namespace
} // namespace calque::console
