#include "base/manual_clock.h"
#include "devices/usb/usb_hid.h"
#include "devices/usb/xhci.h"
#include "tests/devices/manual_worker.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using Kind = InputDevice::Kind;
using Bytes = std::vector<u8>;

UsbSetup setup(u8 type, u8 request, u16 value, u16 length) { return {type, request, value, 0, length}; }

class UsbHidTest : public testing::Test, public UsbSocket {
  protected:
    void make(Kind kind) {
        hid = std::make_unique<UsbHid>(log, kind, "s1", "hid0");
        hid->set_socket(this);
        Bytes none;
        EXPECT_EQ(hid->control(setup(0, 9, 1, 0), none), UsbAnswer::done);
    }
    ~UsbHidTest() override { hid.reset(); } // It says that it goes.
    void notice() override { ++notices; }
    void pull(UsbDevice& device) override { static_cast<void>(device); }
    std::vector<Bytes> reports() {
        std::vector<Bytes> found;
        Bytes bytes;
        while (hid->in(1, bytes) == UsbAnswer::done)
            found.push_back(bytes);
        return found;
    }
    Log log;
    std::unique_ptr<UsbHid> hid;
    unsigned notices = 0;
};

TEST_F(UsbHidTest, AKeyboardReportsWhatIsHeld) {
    make(Kind::keyboard);
    hid->key(Key::shift_left, true);
    hid->key(Key::a, true);
    hid->key(Key::a, false);
    EXPECT_EQ(notices, 3u);
    EXPECT_EQ(reports(),
              (std::vector<Bytes>{{2, 0, 0, 0, 0, 0, 0, 0}, {2, 0, 4, 0, 0, 0, 0, 0}, {2, 0, 0, 0, 0, 0, 0, 0}}));
    for (const Key key : {Key::b, Key::c, Key::d, Key::e, Key::f, Key::g, Key::h})
        hid->key(key, true);
    EXPECT_EQ(reports().back(), (Bytes{2, 0, 1, 1, 1, 1, 1, 1})) << "more than six are too many";
    Bytes lamps{5};
    EXPECT_EQ(hid->control(setup(0x21, 9, 0x200, 1), lamps), UsbAnswer::done);
    EXPECT_EQ(hid->leds(), 3) << "Num Lock and Scroll Lock";
}

TEST_F(UsbHidTest, AMouseAddsUpWhatWasNotFetched) {
    make(Kind::mouse);
    hid->move(100, -3);
    hid->move(100, -3);
    hid->button(MouseButton::right, true);
    hid->scroll(-1);
    EXPECT_EQ(reports(), (std::vector<Bytes>{{0, 127, 0xFA, 0}, {0, 73, 0, 0}, {2, 0, 0, 0}, {2, 0, 0, 0xFF}}));
    for (unsigned i = 0; i < 100'000; ++i)
        hid->move(127, 127);
    EXPECT_LT(reports().size(), 200u);
}

TEST_F(UsbHidTest, ATabletKeepsTheLastPlace) {
    make(Kind::tablet);
    for (u32 i = 0; i < 1000; ++i)
        hid->place(i, 0x7FFF);
    hid->button(MouseButton::left, true);
    EXPECT_EQ(reports(), (std::vector<Bytes>{{0, 0xE7, 0x03, 0xFF, 0x7F, 0}, {1, 0xE7, 0x03, 0xFF, 0x7F, 0}}));
}

TEST_F(UsbHidTest, DescriptorsFitTogether) {
    for (const Kind kind : {Kind::keyboard, Kind::mouse, Kind::tablet}) {
        make(kind);
        Bytes device, configuration, report, cut, none;
        EXPECT_EQ(hid->control(setup(0x80, 6, 0x100, 255), device), UsbAnswer::done);
        EXPECT_EQ(device.size(), 18u);
        EXPECT_EQ(hid->control(setup(0x80, 6, 0x200, 255), configuration), UsbAnswer::done);
        ASSERT_EQ(configuration.size(), 34u);
        EXPECT_EQ(configuration[2], 34);
        EXPECT_EQ(hid->control(setup(0x81, 6, 0x2200, 255), report), UsbAnswer::done);
        EXPECT_EQ(configuration[25], report.size());
        EXPECT_EQ(hid->control(setup(0x80, 6, 0x100, 8), cut), UsbAnswer::done);
        EXPECT_EQ(cut.size(), 8u);
        EXPECT_EQ(hid->control(setup(0x80, 6, 0x600, 255), none), UsbAnswer::stall) << "it has one speed";
    }
}

// A driver of the controller, as small as the tests need.
class XhciTest : public testing::Test {
  protected:
    static constexpr u64 base = 0xFE00'0000, contexts = 0x1000, commands = 0x2000, events = 0x3000, table = 0x4000,
                         input = 0x5000, device_context = 0x6000, control_ring = 0x7000, report_ring = 0x8000,
                         buffer = 0x9000;
    static constexpr u64 op = base + 0x40, run = base + 0x1000, bells = base + 0x2000;
    static constexpr u32 ring_size = 16;
    static constexpr u32 ioc = 1 << 5, isp = 1 << 2, in = 1 << 16;
    struct Event {
        u64 parameter;
        u32 status, control;
        unsigned type() const { return control >> 10 & 63; }
        unsigned code() const { return status >> 24; }
        u32 left() const { return status & 0xFFFFFF; }
        unsigned slot() const { return control >> 24; }
    };

    XhciTest() { make(); }
    ~XhciTest() override { device.reset(); }
    void make() {
        device.reset();
        keyboard = std::make_unique<UsbHid>(board.log, Kind::keyboard, "", "kbd0");
        device = std::make_unique<Xhci>(board.log, board.ram, clock, worker, Xhci::Options{0x1B36, 0xD, 1}, "xhci0");
        EXPECT_TRUE(device->plug(*keyboard, 2));
        UsbHid other(board.log, Kind::mouse, "", "mouse0");
        EXPECT_FALSE(device->plug(other, 2)) << "that port is taken";
        EXPECT_TRUE(board.pci.attach(device->function(), 4, 0).ok());
        board.write_config(pci::BAR0, base, 4);
        board.write_config(pci::BAR0 + 4, 0, 4);
        board.write_config(pci::BAR0 + 8, test::PciBoard::msix_base, 4);
        board.write_config(pci::COMMAND, pci::COMMAND_MEMORY | pci::COMMAND_MASTER, 2);
    }
    u32 get(u64 at) { return static_cast<u32>(board.memory_bus.read(at, 4)); }
    void set(u64 at, u64 value, unsigned size = 4) { board.memory_bus.write(at, value, size); }
    template <class T> void poke(u64 at, T value) { driver.poke<T>(at, value); }
    template <class T> T peek(u64 at) { return driver.peek<T>(at); }

    void start() {
        poke<u64>(contexts + 8, device_context);
        poke<u64>(table, events);
        poke<u32>(table + 8, ring_size);
        set(op + 0x38, 8);
        set(op + 0x30, contexts, 8);
        set(op + 0x18, commands | 1, 8);
        set(run + 0x28, 1);
        set(run + 0x38, events, 8);
        set(run + 0x30, table, 8);
        set(run + 0x20, 2);
        set(op, 5); // Run, with interrupts.
        EXPECT_EQ(next().type(), 34u) << "a port has something in it";
    }
    void block(u64& at, u64 parameter, u32 status, u32 control) {
        poke<u64>(at, parameter);
        poke<u32>(at + 8, status);
        poke<u32>(at + 12, control | 1);
        at += 16;
    }
    // The next event; the controller is told that it was taken. Type 0: there is none.
    Event next() {
        worker.run();
        const Event event{peek<u64>(taken), peek<u32>(taken + 8), peek<u32>(taken + 12)};
        if ((event.control & 1) != phase) return {};
        taken += 16;
        if (taken == events + 16 * ring_size) taken = events, phase ^= 1;
        set(run + 0x38, taken | 8, 8);
        return event;
    }
    Event command(u32 type, u64 parameter = 0, u32 more = 0, unsigned slot = 1) {
        block(command_at, parameter, 0, type << 10 | slot << 24 | more);
        set(bells, 0);
        return next();
    }
    // A control transfer's blocks, and its last event.
    Event control(u64 packet, u32 length) {
        block(control_at, packet, 8, 2u << 10 | 1 << 6);
        if (length) block(control_at, buffer, length, 3u << 10 | in | isp);
        block(control_at, 0, 0, 4u << 10 | ioc);
        set(bells + 4, 1);
        return next();
    }
    // To the state in which the keyboard's reports are asked for.
    void bring_up() {
        start();
        set(op + 0x400 + 16, 1 << 9 | 1 << 4); // Resets port 2.
        EXPECT_EQ(next().type(), 34u);
        EXPECT_EQ(command(9, 0, 0, 0).slot(), 1u);
        poke<u32>(input + 4, 3);
        poke<u32>(input + 32 + 4, 2 << 16);
        poke<u32>(input + 64 + 4, 4 << 3 | 64 << 16);
        poke<u64>(input + 64 + 8, control_ring | 1);
        EXPECT_EQ(command(11, input).code(), 1u);
        EXPECT_EQ(control(0x0000'0000'0001'0900, 0).code(), 1u) << "SET_CONFIGURATION";
        EXPECT_TRUE(keyboard->in_use());
        poke<u32>(input + 4, 1 | 1 << 3);
        poke<u32>(input + 32, 3u << 27);
        poke<u32>(input + 32 * 4 + 4, 7 << 3 | 8 << 16);
        poke<u64>(input + 32 * 4 + 8, report_ring | 1);
        EXPECT_EQ(command(12, input).code(), 1u);
    }

    test::PciBoard board;
    ManualClock clock;
    test::ManualWorker worker;
    test::VirtioDriver driver{board}; // For its view of memory.
    std::unique_ptr<UsbHid> keyboard;
    std::unique_ptr<Xhci> device;
    u64 command_at = commands, control_at = control_ring, report_at = report_ring, taken = events;
    u32 phase = 1;
};

TEST_F(XhciTest, SaysWhatItHas) {
    EXPECT_EQ(get(base), 0x0100'0040u);
    EXPECT_EQ(board.memory_bus.read(base, 1), 0x40u);
    EXPECT_EQ(get(base + 4) >> 24, 8u);
    EXPECT_EQ(get(base + 0x800), 0x0200'0402u);
    EXPECT_EQ(get(op + 4), 1u) << "halted";
    EXPECT_EQ(get(op + 0x400) & 1, 0u);
    EXPECT_EQ(get(op + 0x410) & 0x3C03, 0x0401u) << "connected, full speed, not enabled";
    set(op + 0x410, 1 << 9 | 1 << 4);
    EXPECT_EQ(get(op + 0x410) & 0x20'0003, 0x20'0003u) << "enabled, and the reset has changed that";
    set(op + 0x410, 1 << 9 | 0x7F << 17);
    EXPECT_EQ(get(op + 0x410) & 0xFE'0000, 0u);
}

TEST_F(XhciTest, AKeyReachesTheDriver) {
    bring_up();
    EXPECT_EQ(peek<u32>(device_context + 12), 3u << 27 | 1) << "configured, with its address";
    const Event descriptor = control(0x00FF'0000'0100'0680, 255);
    EXPECT_EQ(descriptor.code(), 13u) << "a short packet";
    EXPECT_EQ(descriptor.left(), 255u - 18);
    EXPECT_EQ(next().code(), 1u) << "and the status";
    EXPECT_EQ(peek<u16>(buffer), 0x0112);
    for (unsigned i = 0; i < 3; ++i)
        block(report_at, buffer + 16 * i, 8, 1u << 10 | ioc | isp);
    set(bells + 4, 3);
    EXPECT_EQ(next().type(), 0u) << "nothing was typed";
    keyboard->key(Key::a, true);
    const Event report = next();
    EXPECT_EQ(report.parameter, report_ring);
    EXPECT_EQ(report.control >> 16, 0x0103u) << "slot 1, endpoint 1 to the host";
    EXPECT_EQ(report.status, 1u << 24);
    EXPECT_EQ(peek<u8>(buffer + 2), 4);
    EXPECT_EQ(command(15, 0, 3 << 16).code(), 1u) << "stopped";
    keyboard->key(Key::a, false);
    EXPECT_EQ(next().type(), 0u);
    EXPECT_EQ(peek<u64>(device_context + 32 * 3 + 8), report_ring + 16 + 1) << "where it goes on";
    set(bells + 4, 3);
    EXPECT_EQ(next().parameter, report_ring + 16);
}

TEST_F(XhciTest, ADeviceThatIsGoneIsNotAsked) {
    bring_up();
    block(report_at, buffer, 8, 1u << 10 | ioc);
    keyboard.reset();
    EXPECT_EQ(next().type(), 34u) << "the port has changed";
    set(bells + 4, 3);
    EXPECT_EQ(next().code(), 4u) << "a transaction error";
}

TEST_F(XhciTest, ADriverHearsOfWhatComesAndGoes) {
    bring_up();
    const u64 second = op + 0x400 + 16, third = second + 16;
    constexpr u32 connected = 1, enabled = 2, power = 1 << 9, speed = 15 << 10, changed = 1 << 17;
    const u32 all = connected | enabled | power | speed | changed;
    keyboard.reset();
    Event event = next();
    EXPECT_EQ(event.type(), 34u);
    EXPECT_EQ(event.parameter, 2u << 24);
    EXPECT_EQ(get(second) & all, power | changed);
    set(second, power | changed);
    EXPECT_EQ(get(second) & all, power);
    UsbHid mouse(board.log, Kind::mouse, "", "mouse0");
    EXPECT_TRUE(device->plug(mouse, 3));
    event = next();
    EXPECT_EQ(event.type(), 34u);
    EXPECT_EQ(event.parameter, 3u << 24);
    EXPECT_EQ(get(third) & all, connected | power | 1u << 10 | changed);
    keyboard = std::make_unique<UsbHid>(board.log, Kind::keyboard, "", "kbd1");
    EXPECT_TRUE(device->plug(*keyboard, std::nullopt)) << "the first that is free";
    EXPECT_EQ(next().parameter, 1u << 24);
    EXPECT_EQ(next().type(), 0u);
}

TEST_F(XhciTest, AStallHaltsUntilItIsReset) {
    bring_up();
    const u64 failing = control_at + 16;
    const Event stall = control(0x00FF'0000'0600'0680, 255);
    EXPECT_EQ(stall.code(), 6u);
    EXPECT_EQ(stall.parameter, failing);
    EXPECT_EQ(peek<u32>(device_context + 32) & 7, 2u) << "halted";
    set(bells + 4, 1);
    EXPECT_EQ(next().type(), 0u);
    EXPECT_EQ(command(16, control_at | 1, 1 << 16).code(), 19u) << "not while it is halted";
    EXPECT_EQ(command(14, 0, 1 << 16).code(), 1u);
    EXPECT_EQ(command(16, control_at | 1, 1 << 16).code(), 1u);
    EXPECT_EQ(control(0x0012'0000'0100'0680, 18).code(), 1u);
}

TEST_F(XhciTest, AFullEventRingLosesNothing) {
    start();
    for (unsigned i = 0; i < 40; ++i)
        block(command_at, 0, 0, 23u << 10);
    set(bells, 0);
    worker.run();
    unsigned count = 0;
    for (Event event = next(); event.type() != 0; event = next())
        count += event.type() == 33;
    EXPECT_EQ(count, 40u);
}

TEST_F(XhciTest, InterruptsByMessageOnceUntilTheDriverIsDone) {
    board.open_vector(0, 0x41);
    const unsigned capability = device->function().capability_offset(pci::CAPABILITY_MSIX);
    board.write_config(capability + 2, 0x8000, 2);
    start();
    board.messages.sent.clear();
    block(command_at, 0, 0, 23u << 10);
    block(command_at, 0, 0, 23u << 10);
    set(bells, 0);
    worker.run();
    EXPECT_EQ(board.messages.sent.size(), 1u);
    set(run + 0x38, (events + 16 * 16) | 8, 8); // Not where the ring is: there is more.
    EXPECT_EQ(board.messages.sent.size(), 2u);
}

TEST_F(XhciTest, AnInterruptWaitsWhileTheyAreDisabled) {
    board.open_vector(0, 0x41);
    const unsigned capability = device->function().capability_offset(pci::CAPABILITY_MSIX);
    board.write_config(capability + 2, 0x8000, 2);
    start();
    board.messages.sent.clear();
    set(op, 1);
    block(command_at, 0, 0, 23u << 10);
    set(bells, 0);
    worker.run();
    EXPECT_TRUE(board.messages.sent.empty());
    set(op, 5);
    EXPECT_EQ(board.messages.sent.size(), 1u);
    set(op, 5);
    EXPECT_EQ(board.messages.sent.size(), 1u);
}

TEST_F(XhciTest, WhatADriverGetsWrong) {
    bring_up();
    EXPECT_EQ(command(11, input, 0, 7).code(), 11u) << "a slot that is not enabled";
    EXPECT_EQ(command(11, input).code(), 19u) << "it has an address already";
    EXPECT_EQ(command(12, 0xFFFF'FFFF'0000).code(), 5u);
    EXPECT_EQ(command(15, 0, 9 << 16).code(), 12u);
    EXPECT_EQ(command(60).code(), 5u);
    EXPECT_EQ(get(op + 4) & 4, 0u);
    u64 link = command_at;
    block(link, command_at, 0, 6u << 10); // To itself.
    set(bells, 0);
    worker.run();
    EXPECT_EQ(get(op + 4) & 5, 5u) << "host system error, halted";
    set(op, 2);
    EXPECT_EQ(get(op + 4), 1u);
    EXPECT_FALSE(keyboard->in_use());
}

TEST_F(XhciTest, ASavedControllerGoesOn) {
    bring_up();
    block(report_at, buffer, 8, 1u << 10 | ioc);
    set(bells + 4, 3);
    worker.run();
    const Bytes controller = test::save(*device), keys = test::save(*keyboard);
    make();
    ASSERT_TRUE(test::load(*keyboard, keys).ok());
    ASSERT_TRUE(test::load(*device, controller).ok());
    EXPECT_TRUE(keyboard->in_use());
    keyboard->key(Key::z, true);
    EXPECT_EQ(next().parameter, report_ring);
    EXPECT_EQ(peek<u8>(buffer + 2), 0x1D);
}

} // namespace
} // namespace calque::devices
