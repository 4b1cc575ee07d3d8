#include "base/manual_clock.h"
#include "devices/i8042/i8042.h"
#include "tests/devices/harness.h"

namespace calque::devices {
namespace {

class I8042Test : public testing::Test {
  protected:
    I8042Test() {
        ports.map(0x60, 1, device.data(), "8042 data");
        ports.map(0x64, 1, device.command(), "8042 command");
    }
    u8 status() { return static_cast<u8>(ports.read(0x64, 1)); }
    u8 data() { return static_cast<u8>(ports.read(0x60, 1)); }
    void command(u8 value) { ports.write(0x64, value, 1); }
    void write(u8 value) { ports.write(0x60, value, 1); }
    void write_ccb(u8 value) {
        command(0x60);
        write(value);
    }
    // All that comes within the next time, as software that polls gets it.
    std::vector<u8> all(unsigned most = 64) {
        std::vector<u8> bytes;
        for (unsigned i = 0; i < 2 * most; ++i) {
            if (status() & 1) bytes.push_back(data());
            clock.advance(1'000'000);
        }
        return bytes;
    }
    std::vector<u8> keyboard(u8 byte) {
        write(byte);
        return all(8);
    }
    std::vector<u8> mouse(u8 byte) {
        command(0xD4);
        write(byte);
        return all(8);
    }
    void enable() {
        write_ccb(0x47); // Both interrupts, SYS, translation.
        all();
    }
    using Bytes = std::vector<u8>;

    Log log;
    ManualClock clock;
    test::RecordedLines lines;
    Bus ports{Bus::Kind::ports, log};
    std::vector<bool> a20;
    unsigned resets = 0;
    I8042 device{log,
                 clock,
                 IrqLine(lines, 1),
                 IrqLine(lines, 12),
                 {[this](bool on) { a20.push_back(on); }, [this] { ++resets; }}};
};

TEST_F(I8042Test, SelfTestsPass) {
    EXPECT_EQ(status(), 0x10);
    command(0xAA);
    EXPECT_EQ(status(), 0x1D); // OBF, SYS, CMD, not inhibited.
    EXPECT_EQ(data(), 0x55);
    command(0xAB);
    EXPECT_EQ(data(), 0x00);
    command(0xA9);
    EXPECT_EQ(data(), 0x00);
    command(0xA4);
    EXPECT_EQ(data(), 0xF1);
}

TEST_F(I8042Test, CommandByteReadsBack) {
    write_ccb(0x65);
    command(0x20);
    EXPECT_EQ(data(), 0x65);
    command(0xAD);
    command(0x20);
    EXPECT_EQ(data(), 0x75);
    command(0xA8);
    command(0xAE);
    command(0x20);
    EXPECT_EQ(data(), 0x45);
    command(0x7F);
    write(0x12);
    command(0x3F);
    EXPECT_EQ(data(), 0x12);
}

TEST_F(I8042Test, KeyboardIdentifiesItself) {
    write_ccb(0x00);
    EXPECT_EQ(all(), Bytes{});
    EXPECT_EQ(keyboard(0xF2), (Bytes{0xFA, 0xAB, 0x83}));
    EXPECT_EQ(keyboard(0xFF), (Bytes{0xFA, 0xAA}));
    EXPECT_EQ(keyboard(0xEE), (Bytes{0xEE}));
    EXPECT_EQ(keyboard(0xE7), (Bytes{0xFE}));
    EXPECT_EQ(keyboard(0xFE), (Bytes{0xFE})) << "resends what it sent last";
    write_ccb(0x40);
    EXPECT_EQ(keyboard(0xF2), (Bytes{0xFA, 0xAB, 0x41})) << "translated";
}

TEST_F(I8042Test, KeysAreTranslatedToSet1) {
    enable();
    device.key(Key::a, true);
    device.key(Key::a, false);
    device.key(Key::right, true);
    device.key(Key::right, false);
    EXPECT_EQ(all(), (Bytes{0x1E, 0x9E, 0xE0, 0x4D, 0xE0, 0xCD}));
}

TEST_F(I8042Test, KeysInSet2WithoutTranslation) {
    write_ccb(0x05);
    all();
    device.key(Key::a, true);
    device.key(Key::a, false);
    device.key(Key::control_right, true);
    device.key(Key::control_right, false);
    EXPECT_EQ(all(), (Bytes{0x1C, 0xF0, 0x1C, 0xE0, 0x14, 0xE0, 0xF0, 0x14}));
}

TEST_F(I8042Test, KeysInSet1WithoutTranslation) {
    write_ccb(0x05);
    all();
    EXPECT_EQ(keyboard(0xF0), (Bytes{0xFA}));
    EXPECT_EQ(keyboard(0x01), (Bytes{0xFA}));
    EXPECT_EQ(keyboard(0xF0), (Bytes{0xFA}));
    EXPECT_EQ(keyboard(0x00), (Bytes{0xFA, 0x01}));
    device.key(Key::f7, true);
    device.key(Key::f7, false);
    EXPECT_EQ(all(), (Bytes{0x41, 0xC1}));
    device.key(Key::pause, true);
    device.key(Key::pause, false);
    EXPECT_EQ(all(), (Bytes{0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5}));
}

TEST_F(I8042Test, KeysInSet3FollowTheirTypes) {
    write_ccb(0x05);
    all();
    keyboard(0xF0);
    EXPECT_EQ(keyboard(0x03), (Bytes{0xFA}));
    device.key(Key::a, true);
    device.key(Key::a, false);
    device.key(Key::shift_left, true);
    device.key(Key::shift_left, false);
    EXPECT_EQ(all(), (Bytes{0x1C, 0x12, 0xF0, 0x12}));
    EXPECT_EQ(keyboard(0xFC), (Bytes{0xFA})); // Make and break for the keys that follow.
    EXPECT_EQ(keyboard(0x1C), (Bytes{0xFA}));
    EXPECT_EQ(keyboard(0xF4), (Bytes{0xFA}));
    device.key(Key::a, true);
    device.key(Key::a, false);
    EXPECT_EQ(all(), (Bytes{0x1C, 0xF0, 0x1C}));
}

TEST_F(I8042Test, PrintScreenDependsOnWhatIsHeld) {
    enable();
    device.key(Key::print_screen, true);
    device.key(Key::print_screen, false);
    EXPECT_EQ(all(), (Bytes{0xE0, 0x2A, 0xE0, 0x37, 0xE0, 0xB7, 0xE0, 0xAA}));
    device.key(Key::alt_left, true);
    device.key(Key::print_screen, true);
    EXPECT_EQ(all(4), (Bytes{0x38, 0x54}));
}

// Some codes that everyone knows, against the table.
TEST_F(I8042Test, SetOneCodes) {
    const auto set1 = [](Key key) { return set2_to_set1(key_codes[static_cast<std::size_t>(key)].set2); };
    EXPECT_EQ(set1(Key::escape), 0x01);
    EXPECT_EQ(set1(Key::digit1), 0x02);
    EXPECT_EQ(set1(Key::digit0), 0x0B);
    EXPECT_EQ(set1(Key::backspace), 0x0E);
    EXPECT_EQ(set1(Key::q), 0x10);
    EXPECT_EQ(set1(Key::p), 0x19);
    EXPECT_EQ(set1(Key::enter), 0x1C);
    EXPECT_EQ(set1(Key::l), 0x26);
    EXPECT_EQ(set1(Key::backslash), 0x2B);
    EXPECT_EQ(set1(Key::m), 0x32);
    EXPECT_EQ(set1(Key::space), 0x39);
    EXPECT_EQ(set1(Key::f1), 0x3B);
    EXPECT_EQ(set1(Key::f10), 0x44);
    EXPECT_EQ(set1(Key::f11), 0x57);
    EXPECT_EQ(set1(Key::f12), 0x58);
    EXPECT_EQ(set1(Key::num_lock), 0x45);
    EXPECT_EQ(set1(Key::scroll_lock), 0x46);
    EXPECT_EQ(set1(Key::pad7), 0x47);
    EXPECT_EQ(set1(Key::pad_period), 0x53);
    EXPECT_EQ(set1(Key::iso), 0x56);
    EXPECT_EQ(set1(Key::yen), 0x7D);
    EXPECT_EQ(set1(Key::ro), 0x73);
}

TEST_F(I8042Test, NoTwoKeysSendTheSame) {
    std::map<std::pair<bool, u8>, std::string_view> seen;
    for (const KeyCodes& k : key_codes) {
        const auto [at, fresh] = seen.emplace(std::pair(k.extended, k.set2), k.name);
        EXPECT_TRUE(fresh) << k.name << " and " << at->second;
    }
}

TEST_F(I8042Test, InterruptsComeOncePerByte) {
    enable();
    const unsigned before = lines.edge_count(1);
    device.key(Key::a, true);
    EXPECT_TRUE(lines.level(1));
    device.key(Key::a, false);
    EXPECT_EQ(data(), 0x1E);
    EXPECT_FALSE(lines.level(1));
    EXPECT_EQ(data(), 0x1E) << "a second read gives the same byte";
    clock.advance(2'000'000);
    EXPECT_TRUE(lines.level(1));
    EXPECT_EQ(data(), 0x9E);
    EXPECT_EQ(lines.edge_count(1) - before, 2u);
    EXPECT_EQ(lines.edge_count(12), 0u);
}

TEST_F(I8042Test, ADisabledKeyboardHoldsItsBytes) {
    enable();
    command(0xAD);
    device.key(Key::a, true);
    EXPECT_EQ(all(), Bytes{});
    command(0xAE);
    EXPECT_EQ(all(4), (Bytes{0x1E}));
}

TEST_F(I8042Test, TheBufferOverrunsInsteadOfGrowing) {
    enable();
    for (unsigned i = 0; i < 100; ++i) {
        device.key(Key::a, true);
        device.key(Key::a, false);
    }
    const Bytes bytes = all();
    EXPECT_LT(bytes.size(), 20u);
    EXPECT_EQ(bytes.back(), 0xFF) << "the overrun code, translated";
    device.key(Key::b, true);
    EXPECT_EQ(all(4), (Bytes{0x30}));
}

TEST_F(I8042Test, AHeldKeyRepeatsAsProgrammed) {
    enable();
    keyboard(0xF3);
    keyboard(0x00); // 250 ms, then every 33 ms.
    device.key(Key::a, true);
    EXPECT_EQ(data(), 0x1E);
    clock.advance(240'000'000);
    EXPECT_EQ(status() & 1, 0);
    clock.advance(11'000'000);
    EXPECT_EQ(status() & 1, 1);
    EXPECT_EQ(data(), 0x1E);
    clock.advance(34'000'000);
    EXPECT_EQ(status() & 1, 1);
    EXPECT_EQ(data(), 0x1E);
    device.key(Key::a, false);
    EXPECT_EQ(all(), (Bytes{0x9E}));
}

TEST_F(I8042Test, LampsAreShown) {
    enable();
    EXPECT_EQ(keyboard(0xED), (Bytes{0xFA}));
    EXPECT_EQ(keyboard(0x07), (Bytes{0xFA}));
    EXPECT_EQ(device.leds(), 7);
    EXPECT_EQ(keyboard(0xFF), (Bytes{0xFA, 0xAA}));
    EXPECT_EQ(device.leds(), 0);
}

// Linux's i8042 driver looks for the mouse port with this loop, and tests its interrupt with it.
TEST_F(I8042Test, AuxLoopComesBackAsMouseData) {
    write_ccb(0x46);
    command(0xD3);
    write(0xA5);
    EXPECT_EQ(status() & 0x21, 0x21);
    EXPECT_TRUE(lines.level(12));
    EXPECT_EQ(data(), 0xA5);
    EXPECT_FALSE(lines.level(12));
    command(0xD2);
    write(0x77);
    EXPECT_EQ(status() & 0x21, 0x01);
    EXPECT_EQ(data(), 0x77);
}

TEST_F(I8042Test, MouseResetAndIdentify) {
    enable();
    EXPECT_EQ(mouse(0xFF), (Bytes{0xFA, 0xAA, 0x00}));
    EXPECT_EQ(mouse(0xF2), (Bytes{0xFA, 0x00}));
    EXPECT_EQ(mouse(0xE9), (Bytes{0xFA, 0x00, 0x02, 100}));
    EXPECT_GT(lines.edge_count(12), 0u);
}

TEST_F(I8042Test, MousePackets) {
    enable();
    mouse(0xF4);
    device.mouse_move(5, -3, 0);
    EXPECT_EQ(all(4), (Bytes{0x28, 0x05, 0xFD}));
    device.mouse_button(MouseButton::right, true);
    EXPECT_EQ(all(4), (Bytes{0x0A, 0x00, 0x00}));
    device.mouse_button(MouseButton::right, false);
    device.mouse_move(-300, 0, 0);
    EXPECT_EQ(all(16), (Bytes{0x18, 0x01, 0x00, 0x18, 0xD3, 0x00})) << "-300 is -255 and -45";
}

TEST_F(I8042Test, AQuickClickIsNotLost) {
    enable();
    mouse(0xF4);
    device.mouse_move(1, 0, 0);
    device.mouse_button(MouseButton::left, true);
    device.mouse_button(MouseButton::left, false);
    EXPECT_EQ(all(32), (Bytes{0x08, 0x01, 0x00, 0x09, 0x00, 0x00, 0x08, 0x00, 0x00}));
}

TEST_F(I8042Test, MovementAddsUpBetweenReports) {
    enable();
    mouse(0xF4);
    device.mouse_move(1, 0, 0);
    device.mouse_move(1, 0, 0);
    device.mouse_move(1, 0, 0);
    EXPECT_EQ(all(16), (Bytes{0x08, 0x01, 0x00, 0x08, 0x02, 0x00}));
}

TEST_F(I8042Test, IntelliMouseKnockTurnsOnTheWheel) {
    enable();
    for (const u8 rate : {200, 100, 80}) {
        EXPECT_EQ(mouse(0xF3), (Bytes{0xFA}));
        EXPECT_EQ(mouse(rate), (Bytes{0xFA}));
    }
    EXPECT_EQ(mouse(0xF2), (Bytes{0xFA, 0x03}));
    mouse(0xF4);
    device.mouse_move(0, 0, -1);
    EXPECT_EQ(all(8), (Bytes{0x08, 0x00, 0x00, 0xFF}));
    for (const u8 rate : {200, 200, 80}) {
        mouse(0xF3);
        mouse(rate);
    }
    EXPECT_EQ(mouse(0xF2), (Bytes{0xFA, 0x04}));
    device.mouse_button(MouseButton::side, true);
    EXPECT_EQ(all(8), (Bytes{0x08, 0x00, 0x00, 0x10}));
}

TEST_F(I8042Test, RemoteModeReportsWhenAsked) {
    enable();
    mouse(0xF0);
    device.mouse_move(7, 0, 0);
    EXPECT_EQ(all(4), Bytes{});
    EXPECT_EQ(mouse(0xEB), (Bytes{0xFA, 0x08, 0x07, 0x00}));
}

TEST_F(I8042Test, WrapModeEchoes) {
    enable();
    mouse(0xEE);
    EXPECT_EQ(mouse(0x42), (Bytes{0x42}));
    EXPECT_EQ(mouse(0xEC), (Bytes{0xFA}));
    EXPECT_EQ(mouse(0xF2), (Bytes{0xFA, 0x00}));
}

TEST_F(I8042Test, OutputPortDrivesA20AndReset) {
    command(0xD0);
    EXPECT_EQ(data() & 3, 3);
    command(0xD1);
    write(0xDD);
    ASSERT_EQ(a20.size(), 1u);
    EXPECT_FALSE(a20.back());
    command(0xDF);
    EXPECT_TRUE(a20.back());
    command(0xDD);
    EXPECT_FALSE(a20.back());
    EXPECT_EQ(resets, 0u);
    command(0xFE);
    EXPECT_EQ(resets, 1u);
    command(0xFF);
    EXPECT_EQ(resets, 1u) << "no line pulsed";
    command(0xD1);
    write(0x02);
    EXPECT_EQ(resets, 2u);
    device.reset();
    EXPECT_TRUE(a20.back());
}

TEST_F(I8042Test, RoundTripInMidstream) {
    enable();
    mouse(0xF4);
    device.key(Key::a, true);
    device.key(Key::a, false);
    device.mouse_move(5, 5, 0);
    const auto saved = test::save(device);
    const Bytes first = all();
    device.reset();
    EXPECT_FALSE(lines.level(1));
    EXPECT_TRUE(test::load(device, saved).ok());
    EXPECT_TRUE(lines.level(1));
    EXPECT_EQ(all(), first);
    EXPECT_EQ(first, (Bytes{0x1E, 0x9E, 0x08, 0x05, 0x05}));
}

} // namespace
} // namespace calque::devices
