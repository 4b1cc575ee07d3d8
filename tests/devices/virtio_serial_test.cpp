#include "devices/virtio/virtio_serial.h"
#include "tests/devices/manual_worker.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

constexpr u64 MULTIPORT = u64{1} << 32 | 1 << 1;
constexpr unsigned console_in = 0, console_out = 1, control_in = 2, control_out = 3, port_in = 4, port_out = 5;

// The host's end of a port: remembers what the guest writes, and types.
class FarEnd final : public CharBackend {
  public:
    void transmit(std::span<const u8> bytes) override { written.append(bytes.begin(), bytes.end()); }
    std::size_t transmit_room() override { return room; }
    void set_receiver(Receiver receiver) override { listener = std::move(receiver); }
    void resume() override { ++resumed; }
    std::size_t type(std::string_view text) {
        const std::size_t count = std::min(text.size(), listener.room());
        listener.deliver({reinterpret_cast<const u8*>(text.data()), count});
        return count;
    }
    std::string written;
    std::size_t room = ~std::size_t{0};
    Receiver listener;
    unsigned resumed = 0;
};

class VirtioSerialTest : public testing::Test {
  protected:
    VirtioSerialTest() { make(); }
    ~VirtioSerialTest() override { device.reset(); }
    void make() {
        device.reset();
        device = std::make_unique<VirtioPci>(
            board.log, board.ram, VirtioPciOptions{"serial0", true, true, 0, 0x078000}, virtio::Id::console,
            VirtioSerial::config_size, VirtioSerial::queue_count_of(2),
            [&](DmaPort& memory) { return std::make_unique<VirtioSerial>(board.log, memory, worker, 2, "serial0"); });
        auto& serial = static_cast<VirtioSerial&>(device->kind());
        EXPECT_EQ(serial.free_number(true), 0u);
        EXPECT_EQ(serial.free_number(false), 1u);
        EXPECT_TRUE(serial.add_port(0, {&console, "", true}));
        EXPECT_TRUE(serial.add_port(1, {&channel, "org.calque.test", false}));
        EXPECT_FALSE(serial.add_port(1, {}));
        EXPECT_FALSE(serial.add_port(2, {}));
        EXPECT_EQ(serial.free_number(false), VirtioSerial::most_ports);
        board.plug(device->function());
    }
    void start(u64 features = MULTIPORT) {
        ASSERT_TRUE(driver.begin(features));
        for (unsigned queue = 0; queue < 6; ++queue)
            driver.set_queue(queue);
        driver.go();
        for (u16 i = 0; i < 8; ++i)
            give(control_in, i, place(control_in, i), 64);
        worker.run();
    }
    static u64 place(unsigned queue, u16 index) { return test::VirtioDriver::base(queue) + 0x4000 + 0x100 * index; }
    void give(unsigned queue, u16 index, u64 at, u32 length) {
        driver.descriptor(queue, index, at, length, test::VirtioDriver::WRITE);
        driver.make_available(queue, index);
        driver.notify(queue);
        worker.run();
    }
    void write(unsigned queue, std::string_view text) {
        std::copy(text.begin(), text.end(), board.ram.bytes.begin() + static_cast<std::ptrdiff_t>(place(queue, 0)));
        driver.descriptor(queue, 0, place(queue, 0), static_cast<u32>(text.size()), 0);
        driver.make_available(queue, 0);
        driver.notify(queue);
        worker.run();
    }
    void control(u32 port, u16 event, u16 value) {
        std::string bytes(8, '\0');
        std::memcpy(bytes.data(), &port, 4);
        std::memcpy(bytes.data() + 4, &event, 2);
        std::memcpy(bytes.data() + 6, &value, 2);
        write(control_out, bytes);
    }
    std::string text(unsigned queue, u16 index) {
        const auto [head, length] = driver.used_element(queue, index);
        const auto at = board.ram.bytes.begin() + static_cast<std::ptrdiff_t>(place(queue, static_cast<u16>(head)));
        return {at, at + static_cast<std::ptrdiff_t>(length)};
    }
    // Port, event, value of a message from the device.
    std::array<unsigned, 3> message(u16 index) {
        const std::string bytes = text(control_in, index);
        const auto byte = [&](std::size_t at) { return static_cast<unsigned>(static_cast<u8>(bytes.at(at))); };
        return {byte(0), byte(4), byte(6)};
    }

    FarEnd console, channel;
    test::PciBoard board;
    test::ManualWorker worker;
    test::VirtioDriver driver{board};
    std::unique_ptr<VirtioPci> device;
};

TEST_F(VirtioSerialTest, TellsOfItsPorts) {
    start();
    EXPECT_EQ(driver.read(VirtioPci::device_offset + 4, 4), 2u);
    control(0, 0, 1); // DEVICE_READY
    ASSERT_EQ(driver.used(control_in), 2u);
    EXPECT_EQ(message(0), (std::array{0u, 1u, 1u})); // DEVICE_ADD
    EXPECT_EQ(message(1), (std::array{1u, 1u, 1u}));
    control(0, 3, 1); // PORT_READY
    EXPECT_EQ(message(2), (std::array{0u, 4u, 1u})) << "it is a console";
    EXPECT_EQ(message(3), (std::array{0u, 6u, 1u})) << "whose host is there";
    control(1, 3, 1);
    EXPECT_EQ(message(4), (std::array{1u, 7u, 1u}));
    EXPECT_EQ(text(control_in, 4).substr(8), "org.calque.test");
    EXPECT_EQ(driver.used(control_in), 5u) << "nobody is at its host's end";
    channel.listener.opened();
    worker.run();
    EXPECT_EQ(message(5), (std::array{1u, 6u, 1u}));
    channel.listener.closed();
    worker.run();
    EXPECT_EQ(message(6), (std::array{1u, 6u, 0u}));
}

TEST_F(VirtioSerialTest, CarriesBytesBothWays) {
    start();
    write(console_out, "hello");
    EXPECT_EQ(console.written, "hello");
    EXPECT_EQ(console.type("abcdef"), 6u);
    give(console_in, 0, place(console_in, 0), 4);
    give(console_in, 1, place(console_in, 1), 4);
    EXPECT_EQ(text(console_in, 0), "abcd");
    EXPECT_EQ(text(console_in, 1), "ef");
    EXPECT_GT(console.resumed, 0u);
}

TEST_F(VirtioSerialTest, AChannelThatNobodyOpenedTakesNothing) {
    start();
    EXPECT_EQ(channel.type("early"), 0u);
    control(1, 6, 1); // PORT_OPEN
    EXPECT_GT(channel.resumed, 0u);
    EXPECT_EQ(channel.type(std::string(5000, 'x')), 4096u) << "as much as it keeps";
    EXPECT_EQ(channel.type("more"), 0u);
    give(port_in, 0, place(port_in, 0), 0x1000);
    EXPECT_EQ(driver.used_element(port_in, 0).second, 4096u);
    EXPECT_EQ(channel.type("more"), 4u);
}

TEST_F(VirtioSerialTest, WhatTheHostDoesNotTakeWaitsInTheGuest) {
    start();
    channel.room = 3;
    write(port_out, "abcdefgh");
    // It takes three at a time as long as it says that it can take three.
    EXPECT_EQ(channel.written, "abcdefgh");
    channel.room = 0;
    write(port_out, "0123");
    EXPECT_EQ(channel.written, "abcdefgh");
    EXPECT_EQ(driver.used(port_out), 1u);
    channel.room = 100;
    channel.listener.drained();
    worker.run();
    EXPECT_EQ(channel.written, "abcdefgh0123");
    EXPECT_EQ(driver.used(port_out), 2u);
    console.room = 0;
    write(console_out, "lost");
    EXPECT_EQ(console.written, "lost") << "a console waits for nobody";
}

TEST_F(VirtioSerialTest, WithoutPortsOfItsOwnTheDriverHasTheConsole) {
    start(u64{1} << 32);
    write(console_out, "plain");
    EXPECT_EQ(console.written, "plain");
    EXPECT_EQ(console.type("x"), 1u);
}

TEST_F(VirtioSerialTest, AnEmergencyCharacterNeedsNoQueue) {
    driver.write(VirtioPci::device_offset + 8, '!', 4);
    EXPECT_EQ(console.written, "!");
}

TEST_F(VirtioSerialTest, ControlMessagesThatMakeNoSense) {
    start();
    control(77, 3, 1);
    control(1, 99, 1);
    write(control_out, "x");
    for (unsigned i = 0; i < 1000; ++i)
        control(1, 3, 1); // It asks on and never has buffers for the answers.
    EXPECT_EQ(driver.status() & virtio::STATUS_NEEDS_RESET, 0);
}

TEST_F(VirtioSerialTest, ASavedDeviceGoesOn) {
    start();
    control(1, 6, 1);
    EXPECT_EQ(channel.type("kept"), 4u);
    control(1, 3, 1);
    const auto state = test::save(*device);
    make();
    ASSERT_TRUE(test::load(*device, state).ok());
    give(port_in, 0, place(port_in, 0), 64);
    EXPECT_EQ(text(port_in, 0), "kept");
    EXPECT_EQ(channel.type("on"), 2u) << "it is still open";
}

} // namespace
} // namespace calque::devices
