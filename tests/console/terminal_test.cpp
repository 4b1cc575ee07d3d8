#include "frontend/console/font.h"
#include "frontend/console/terminal.h"
#include "frontend/console/terminal_picture.h"

#include <gtest/gtest.h>
#include <random>

namespace calque::console {
namespace {

std::string feed(Terminal& terminal, std::string_view text) {
    return terminal.write({reinterpret_cast<const u8*>(text.data()), text.size()});
}

std::string line(const Terminal& terminal, u32 y) {
    std::string text;
    for (const Cell& cell : terminal.row(y))
        text += static_cast<char>(cell.character);
    return text.substr(0, text.find_last_not_of(' ') + 1);
}

TEST(Terminal, WritesLinesAndWrapsAfterTheLastColumn) {
    Terminal terminal;
    feed(terminal, "one\r\n" + std::string(80, 'x'));
    EXPECT_EQ(line(terminal, 0), "one");
    EXPECT_EQ(terminal.cursor().y, 1u); // The wrap waits for the next character.
    feed(terminal, "y");
    EXPECT_EQ(line(terminal, 1), std::string(80, 'x'));
    EXPECT_EQ(line(terminal, 2), "y");
}

TEST(Terminal, ScrollsAndShowsThePast) {
    Terminal terminal;
    for (int i = 0; i < 30; ++i)
        feed(terminal, "line " + std::to_string(i) + "\r\n");
    EXPECT_EQ(line(terminal, 0), "line 6");
    terminal.scroll_view(4);
    EXPECT_EQ(line(terminal, 0), "line 2");
    EXPECT_EQ(line(terminal, 4), "line 6");
    EXPECT_FALSE(terminal.cursor().visible);
    terminal.scroll_view(100);
    EXPECT_EQ(line(terminal, 0), "line 0");
    feed(terminal, "x");
    EXPECT_EQ(line(terminal, 0), "line 6");
}

TEST(Terminal, ErasesInsertsAndDeletes) {
    Terminal terminal;
    feed(terminal, "abcdef\x1b[3D\x1b[K");
    EXPECT_EQ(line(terminal, 0), "abc");
    feed(terminal, "\r\x1b[2@XY");
    EXPECT_EQ(line(terminal, 0), "XYabc");
    feed(terminal, "\r\x1b[P");
    EXPECT_EQ(line(terminal, 0), "Yabc");
    feed(terminal, "\r\nsecond\x1b[1;1H\x1b[L");
    EXPECT_EQ(line(terminal, 0), "");
    EXPECT_EQ(line(terminal, 1), "Yabc");
    feed(terminal, "\x1b[M\x1b[2J");
    EXPECT_EQ(line(terminal, 0), "");
}

TEST(Terminal, AnswersWhereTheCursorIs) {
    Terminal terminal;
    EXPECT_EQ(feed(terminal, "\x1b[5;7H\x1b[6n"), "\x1b[5;7R");
    EXPECT_EQ(feed(terminal, "\x1b[999;999H\x1b[6n"), "\x1b[25;80R");
}

TEST(Terminal, ColorsAreThoseOfVga) {
    Terminal terminal;
    feed(terminal, "\x1b[31;44mr\x1b[1mb\x1b[0;7mi\x1b[mn");
    EXPECT_EQ(terminal.row(0)[0], (Cell{'r', 0x14}));
    EXPECT_EQ(terminal.row(0)[1], (Cell{'b', 0x1C}));
    EXPECT_EQ(terminal.row(0)[2], (Cell{'i', 0x70}));
    EXPECT_EQ(terminal.row(0)[3], (Cell{'n', 0x07}));
}

TEST(Terminal, Utf8AndCodePage437) {
    Terminal terminal;
    feed(terminal, "\xC3\xA9\xE2\x94\x80\xE2\x82\xAC\xDBx");
    EXPECT_EQ(terminal.row(0)[0].character, 0x82);
    EXPECT_EQ(terminal.row(0)[1].character, 0xC4);
    EXPECT_EQ(terminal.row(0)[2].character, '?');
    EXPECT_EQ(line(terminal, 0).back(), 'x');
}

TEST(Terminal, ScrollingRegionAndReverseLineFeed) {
    Terminal terminal;
    feed(terminal, "top\r\n\x1b[2;4r\x1b[2;1Ha\r\nb\r\nc\r\nd");
    EXPECT_EQ(line(terminal, 0), "top");
    EXPECT_EQ(line(terminal, 1), "b");
    EXPECT_EQ(line(terminal, 3), "d");
    feed(terminal, "\x1b[2;1H\x1bM");
    EXPECT_EQ(line(terminal, 1), "");
    EXPECT_EQ(line(terminal, 2), "b");
}

TEST(Terminal, TitlesAreNotShown) {
    Terminal terminal;
    feed(terminal, "\x1b]0;a title\x07ok\x1bP1;2q#\x1b\\!");
    EXPECT_EQ(line(terminal, 0), "ok!");
}

// Whatever a guest sends, the cursor stays on the screen and nothing is written beside it.
TEST(Terminal, RandomSequencesStayOnTheScreen) {
    std::mt19937 random(1);
    constexpr std::string_view likely = "\x1b[];0123456789?ABCDEFGHJKLMPSTXcdfmnrsu@`\r\n\t\b\x80\xE2\xF0";
    for (int round = 0; round < 200; ++round) {
        Terminal terminal;
        std::string text;
        for (int i = 0; i < 2000; ++i)
            text += random() % 4 ? likely[random() % likely.size()] : static_cast<char>(random());
        feed(terminal, text);
        ASSERT_LT(terminal.cursor().x, Terminal::columns);
        ASSERT_LT(terminal.cursor().y, Terminal::rows);
        terminal.scroll_view(static_cast<i32>(random() % 60));
        for (u32 y = 0; y < Terminal::rows; ++y)
            ASSERT_EQ(terminal.row(y).size(), Terminal::columns);
    }
}

TEST(TerminalPicture, DrawsOnlyTheRowsThatChanged) {
    Font font;
    font.glyphs['A'][0] = 0x81;
    Terminal terminal;
    TerminalPicture picture(font);
    devices::Surface surface;
    auto damage = picture.update(terminal, false, surface);
    EXPECT_TRUE(damage.resized);
    EXPECT_EQ(surface.width, 640u);
    EXPECT_EQ(surface.height, 400u);
    damage = picture.update(terminal, false, surface);
    EXPECT_FALSE(damage.resized);
    EXPECT_EQ(damage.end, 0u);
    feed(terminal, "\x1b[3;1HA");
    damage = picture.update(terminal, false, surface);
    EXPECT_EQ(damage.first, 32u);
    EXPECT_EQ(damage.end, 48u);
    EXPECT_EQ(surface.row(32)[0], 0xAAAAAAu);
    EXPECT_EQ(surface.row(32)[1], 0u);
    EXPECT_EQ(surface.row(32)[7], 0xAAAAAAu);
    damage = picture.update(terminal, true, surface); // The cursor comes, in the second column.
    EXPECT_EQ(damage.first, 32u);
    EXPECT_EQ(surface.row(47)[8], 0xAAAAAAu);
}

TEST(Font, IsFoundInTheVgaBios) {
    const auto font = load_font({});
    ASSERT_TRUE(font) << font.error().message;
    EXPECT_EQ(font->glyphs[0xDB],
              (std::array<u8, 16>{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}));
    EXPECT_EQ(font->glyphs[' '], (std::array<u8, 16>{}));
    EXPECT_FALSE(find_font(std::vector<u8>(100)));
}

} // namespace
} // namespace calque::console
