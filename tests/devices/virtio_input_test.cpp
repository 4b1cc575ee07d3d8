#include "devices/virtio/virtio_input.h"
#include "tests/devices/manual_worker.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using Kind = InputDevice::Kind;
using Events = std::vector<std::array<u32, 3>>;
constexpr unsigned events = 0, lamps = 1;
constexpr Events::value_type sync{0, 0, 0};

class VirtioInputTest : public testing::Test {
  protected:
    VirtioInputTest() { make(Kind::tablet); }
    void make(Kind kind) {
        device.reset();
        VirtioPciOptions options{"input0"};
        options.legacy = false;
        options.vectors = 0;
        device = std::make_unique<VirtioPci>(board.log, board.ram, options, virtio::Id::input, VirtioInput::config_size,
                                             VirtioInput::queues, [&](DmaPort& memory) {
                                                 return std::make_unique<VirtioInput>(board.log, memory, worker, kind,
                                                                                      "s17", "input0");
                                             });
        board.plug(device->function());
    }
    VirtioInput& input() { return static_cast<VirtioInput&>(device->kind()); }
    void start(u16 buffers = 8) {
        ASSERT_TRUE(driver.begin(u64{1} << 32));
        driver.set_queue(events);
        driver.set_queue(lamps);
        driver.go();
        for (u16 i = 0; i < buffers; ++i)
            give(i);
        worker.run();
    }
    static u64 place(u16 index) { return test::VirtioDriver::base(events) + 0x4000 + 8 * u64{index}; }
    void give(u16 index, u32 length = 8) {
        driver.descriptor(events, index, place(index), length, test::VirtioDriver::WRITE);
        driver.make_available(events, index);
        driver.notify(events);
    }
    // What came since the last call. Each buffer is given back.
    Events taken() {
        worker.run();
        Events found;
        for (; seen != driver.used(events); ++seen) {
            const auto [head, length] = driver.used_element(events, seen);
            EXPECT_EQ(length, 8u);
            const u64 at = place(static_cast<u16>(head));
            found.push_back({driver.peek<u16>(at), driver.peek<u16>(at + 2), driver.peek<u32>(at + 4)});
            give(static_cast<u16>(head));
            worker.run();
        }
        return found;
    }
    std::vector<u8> ask(u8 select, u8 subselect) {
        driver.write(VirtioPci::device_offset, select, 1);
        driver.write(VirtioPci::device_offset + 1, subselect, 1);
        std::vector<u8> bytes(driver.read(VirtioPci::device_offset + 2, 1));
        for (std::size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = static_cast<u8>(driver.read(VirtioPci::device_offset + 8 + i, 1));
        return bytes;
    }
    void light(u16 code, u32 value) {
        const u64 at = test::VirtioDriver::base(lamps) + 0x4000;
        driver.poke<u16>(at, 0x11);
        driver.poke<u16>(at + 2, code);
        driver.poke<u32>(at + 4, value);
        driver.descriptor(lamps, 0, at, 8, 0);
        driver.make_available(lamps, 0);
        driver.notify(lamps);
        worker.run();
    }

    test::PciBoard board;
    test::ManualWorker worker;
    test::VirtioDriver driver{board};
    std::unique_ptr<VirtioPci> device;
    u16 seen = 0;
};

TEST_F(VirtioInputTest, ATabletSaysWhatItHas) {
    EXPECT_EQ(board.config(0, 4), 0x1052'1AF4u) << "there is no transitional one";
    const auto name = ask(1, 0);
    EXPECT_EQ(std::string(name.begin(), name.end()), "virtio tablet");
    const auto serial = ask(2, 0);
    EXPECT_EQ(std::string(serial.begin(), serial.end()), "s17");
    EXPECT_EQ(ask(3, 0).size(), 8u);
    EXPECT_EQ(ask(0x11, 3), (std::vector<u8>{3})) << "ABS_X, ABS_Y";
    EXPECT_EQ(ask(0x11, 2), (std::vector<u8>{0, 1})) << "REL_WHEEL";
    EXPECT_EQ(ask(0x11, 1).size(), 0x114u / 8 + 1);
    EXPECT_EQ(ask(0x11, 1).back(), 0x1F) << "five buttons";
    const auto range = ask(0x12, 1);
    ASSERT_EQ(range.size(), 20u);
    EXPECT_EQ(range[4] | range[5] << 8, 0x7FFF);
    EXPECT_TRUE(ask(0x12, 2).empty());
    EXPECT_TRUE(ask(0x10, 0).empty());
    EXPECT_TRUE(ask(0x11, 0x11).empty()) << "a tablet has no lamps";
    EXPECT_TRUE(ask(0xEE, 0xEE).empty());
}

TEST_F(VirtioInputTest, PlacesButtonsAndTheWheel) {
    EXPECT_FALSE(input().in_use());
    start();
    EXPECT_TRUE(input().in_use());
    input().place(0x1234, 0x7FFF);
    EXPECT_EQ(taken(), (Events{{3, 0, 0x1234}, {3, 1, 0x7FFF}, sync}));
    input().button(MouseButton::middle, true);
    input().scroll(-2);
    EXPECT_EQ(taken(), (Events{{1, 0x112, 1}, sync, {2, 8, static_cast<u32>(-2)}, sync}));
    input().place(~0u, 0);
    EXPECT_EQ(taken(), (Events{{3, 0, 0x7FFF}, {3, 1, 0}, sync})) << "no place lies outside";
    input().move(1, 1);
    input().key(Key::a, true);
    EXPECT_TRUE(taken().empty()) << "it has no part for these";
}

TEST_F(VirtioInputTest, AMouseMoves) {
    make(Kind::mouse);
    start();
    EXPECT_EQ(ask(0x11, 2), (std::vector<u8>{3, 1}));
    input().move(3, -4);
    input().place(1, 1);
    EXPECT_EQ(taken(), (Events{{2, 0, 3}, {2, 1, static_cast<u32>(-4)}, sync}));
}

TEST_F(VirtioInputTest, AKeyboardHasKeysAndLamps) {
    make(Kind::keyboard);
    start();
    const auto keys = ask(0x11, 1);
    ASSERT_GT(keys.size(), 127u / 8);
    EXPECT_TRUE(keys[30 / 8] >> 30 % 8 & 1) << "KEY_A";
    EXPECT_TRUE(keys[127 / 8] >> 127 % 8 & 1) << "KEY_COMPOSE";
    EXPECT_EQ(ask(0x11, 0x11), (std::vector<u8>{7}));
    EXPECT_EQ(ask(0x11, 0x14), (std::vector<u8>{3})) << "the guest repeats";
    input().key(Key::a, true);
    input().key(Key::a, false);
    EXPECT_FALSE(input().idle());
    EXPECT_EQ(taken(), (Events{{1, 30, 1}, sync, {1, 30, 0}, sync}));
    EXPECT_TRUE(input().idle());
    light(1, 1); // Caps Lock.
    light(0, 1);
    EXPECT_EQ(input().leds(), 6);
    light(0, 0);
    light(9, 1);
    EXPECT_EQ(input().leds(), 4);
    EXPECT_EQ(driver.used(lamps), 4u);
}

TEST_F(VirtioInputTest, ASlowGuestGetsTheLastPlace) {
    start(0);
    for (u32 i = 0; i < 1000; ++i)
        input().place(i, i);
    input().button(MouseButton::left, true);
    input().place(7, 8);
    for (u16 i = 0; i < 8; ++i)
        give(i);
    EXPECT_EQ(taken(), (Events{{3, 0, 999}, {3, 1, 999}, sync, {1, 0x110, 1}, sync, {3, 0, 7}, {3, 1, 8}, sync}));
}

TEST_F(VirtioInputTest, AGuestThatTakesNothingLosesMovementsBeforeKeys) {
    make(Kind::mouse);
    start(0);
    for (unsigned i = 0; i < 5000; ++i)
        input().move(1, 0);
    input().button(MouseButton::left, true);
    for (u16 i = 0; i < 8; ++i)
        give(i);
    const Events all = taken();
    ASSERT_GT(all.size(), 2u);
    EXPECT_LT(all.size(), 600u);
    EXPECT_EQ(all[all.size() - 2], (Events::value_type{1, 0x110, 1}));
}

TEST_F(VirtioInputTest, BuffersThatMakeNoSenseStopIt) {
    start(0);
    give(0, 4);
    input().button(MouseButton::left, true);
    worker.run();
    EXPECT_TRUE(driver.status() & virtio::STATUS_NEEDS_RESET);
    EXPECT_FALSE(input().in_use());
    start(0);
    driver.descriptor(events, 0, 0x7FFF'0000, 8, test::VirtioDriver::WRITE);
    driver.make_available(events, 0);
    driver.notify(events);
    input().button(MouseButton::left, false);
    worker.run();
    EXPECT_TRUE(driver.status() & virtio::STATUS_NEEDS_RESET);
}

TEST_F(VirtioInputTest, ASavedDeviceGoesOn) {
    start(0);
    input().place(5, 6);
    driver.write(VirtioPci::device_offset, 0x0311, 2);
    const auto state = test::save(*device);
    make(Kind::tablet);
    ASSERT_TRUE(test::load(*device, state).ok());
    EXPECT_EQ(driver.read(VirtioPci::device_offset, 4), 0x0001'0311u) << "what was selected, and its size";
    for (u16 i = 0; i < 3; ++i)
        give(i);
    EXPECT_EQ(taken(), (Events{{3, 0, 5}, {3, 1, 6}, sync}));
    device->reset();
    EXPECT_TRUE(input().idle());
}

} // namespace
} // namespace calque::devices
