#include "frontend/console/vnc_keyboard.h"

#include <gtest/gtest.h>

namespace calque::console {
namespace {

using devices::Key;
using Sent = std::vector<std::pair<Key, bool>>;

struct VncKeyboardTest : testing::Test {
    Sent sent;
    HeldKeys keys{[this](Key key, bool pressed) { sent.emplace_back(key, pressed); }};
    VncKeyboard keyboard{keys, *find_layout("en-us")};

    Sent after(std::initializer_list<std::pair<u32, bool>> events) {
        sent.clear();
        for (const auto& [keysym, pressed] : events)
            keyboard.event(keysym, pressed);
        return sent;
    }
};

constexpr u32 shift = 0xFFE1, control = 0xFFE3, f12 = 0xFFC9, pad_plus = 0xFFAB, euro = 0x20AC;

TEST_F(VncKeyboardTest, KeysWithoutACharacterAreKnownByTheirNames) {
    EXPECT_EQ(after({{f12, true}, {f12, false}, {pad_plus, true}}),
              (Sent{{Key::f12, true}, {Key::f12, false}, {Key::pad_plus, true}}));
    EXPECT_EQ(after({{0xFFFFFFFF, true}, {0, true}, {euro, true}}), Sent{});
}

TEST_F(VncKeyboardTest, ACharacterThatNeedsShiftGetsIt) {
    EXPECT_EQ(after({{'A', true}, {'A', false}}),
              (Sent{{Key::shift_left, true}, {Key::a, true}, {Key::shift_left, false}, {Key::a, false}}));
    EXPECT_EQ(after({{shift, true}, {'!', true}, {shift, false}, {'1', false}}),
              (Sent{{Key::shift_left, true}, {Key::digit1, true}, {Key::shift_left, false}, {Key::digit1, false}}));
}

// On the viewer's keyboard ';' may be where Shift is needed.
TEST_F(VncKeyboardTest, ACharacterThatMustNotHaveShiftLosesItForAMoment) {
    EXPECT_EQ(after({{shift, true}, {';', true}, {';', false}}), (Sent{{Key::shift_left, true},
                                                                       {Key::shift_left, false},
                                                                       {Key::semicolon, true},
                                                                       {Key::shift_left, true},
                                                                       {Key::semicolon, false}}));
}

TEST_F(VncKeyboardTest, ChordsAreOfKeysNotOfCharacters) {
    EXPECT_EQ(after({{control, true}, {'C', true}}), (Sent{{Key::control_left, true}, {Key::c, true}}));
}

TEST(VncKeysyms, CharactersAreLatin1OrUnicode) {
    EXPECT_EQ(character_of_keysym('a'), U'a');
    EXPECT_EQ(character_of_keysym(0xFC), U'\u00FC');
    EXPECT_EQ(character_of_keysym(0x0100'03B1), U'\u03B1');
    EXPECT_EQ(character_of_keysym(euro), U'\u20AC');
    EXPECT_FALSE(character_of_keysym(0xFF0D));
    EXPECT_FALSE(character_of_keysym(0x8000'0041));
}

} // namespace
} // namespace calque::console
