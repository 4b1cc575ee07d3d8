#include "devices/pci_hotplug/pci_hotplug.h"
#include "tests/devices/harness.h"

using namespace calque;
using namespace calque::devices;
using namespace calque::devices::test;

namespace {

class PciHotplugTest : public ::testing::Test {
  protected:
    PciHotplugTest() { ports.map(PciHotplug::default_base, PciHotplug::size, device, "pci-hotplug"); }
    u64 in(u64 offset, unsigned size = 4) { return ports.read(PciHotplug::default_base + offset, size); }
    void out(u64 offset, u64 value, unsigned size = 4) { ports.write(PciHotplug::default_base + offset, value, size); }

    Log log;
    Bus ports{Bus::Kind::ports, log};
    unsigned announced = 0;
    u32 gone = 0;
    PciHotplug device{log, {[this] { ++announced; }, [this](u32 slots) { gone |= slots; }}};
};

TEST_F(PciHotplugTest, ADeviceThatComesIsToldOnce) {
    device.plugged(5, true);
    EXPECT_EQ(announced, 1u);
    EXPECT_EQ(in(PciHotplug::removable), 1u << 5);
    EXPECT_EQ(in(PciHotplug::up), 1u << 5);
    EXPECT_EQ(in(PciHotplug::up), 0u);
    EXPECT_EQ(in(PciHotplug::down), 0u);
}

TEST_F(PciHotplugTest, ADeviceFromTheStartIsNotTold) {
    device.plugged(3, false);
    EXPECT_EQ(announced, 0u);
    EXPECT_EQ(in(PciHotplug::up), 0u);
    EXPECT_EQ(in(PciHotplug::removable), 1u << 3);
}

TEST_F(PciHotplugTest, ADeviceIsAskedBackUntilTheGuestLetsGo) {
    device.plugged(31, false);
    device.ask_back(31);
    EXPECT_EQ(announced, 1u);
    EXPECT_EQ(in(PciHotplug::down), 1u << 31);
    EXPECT_EQ(in(PciHotplug::down), 0u);
    EXPECT_EQ(device.asked_back(), 1u << 31);
    device.ask_back(31);
    EXPECT_EQ(announced, 2u);
    EXPECT_EQ(in(PciHotplug::down), 1u << 31);
    out(PciHotplug::eject, 1u << 31);
    EXPECT_EQ(gone, 1u << 31);
    device.unplugged(31);
    EXPECT_EQ(device.asked_back(), 0u);
    EXPECT_EQ(in(PciHotplug::removable), 0u);
}

// A slot that is given up again, or was never taken, or holds what stays.
TEST_F(PciHotplugTest, SlotsWithoutARemovableDeviceCannotBeGivenUp) {
    device.plugged(4, false);
    device.unplugged(4);
    out(PciHotplug::eject, 0xFFFF'FFFF);
    EXPECT_EQ(gone, 0u);
    device.ask_back(4);
    EXPECT_EQ(device.asked_back(), 0u);
    EXPECT_EQ(in(PciHotplug::down), 0u);
}

// What was asked of the last device in a slot is not asked of the next.
TEST_F(PciHotplugTest, ANewDeviceIsNotAskedBackForTheOldOne) {
    device.plugged(6, false);
    device.ask_back(6);
    device.unplugged(6);
    device.plugged(6, true);
    EXPECT_EQ(in(PciHotplug::down), 0u);
    EXPECT_EQ(in(PciHotplug::up), 1u << 6);
}

TEST_F(PciHotplugTest, BytesOfARegisterAreReadAndWrittenAlone) {
    device.plugged(2, true);
    device.plugged(9, true);
    EXPECT_EQ(in(PciHotplug::up, 1), 1u << 2);
    EXPECT_EQ(in(PciHotplug::up), 1u << 9);
    out(PciHotplug::eject + 1, 1u << 1, 1);
    EXPECT_EQ(gone, 1u << 9);
    EXPECT_EQ(in(PciHotplug::eject), 0u);
}

TEST_F(PciHotplugTest, ThereIsNoOtherBus) {
    device.plugged(2, true);
    out(PciHotplug::bus, 1);
    EXPECT_EQ(in(PciHotplug::bus), 1u);
    EXPECT_EQ(in(PciHotplug::up), 0u);
    EXPECT_EQ(in(PciHotplug::removable), 0u);
    out(PciHotplug::eject, 1u << 2);
    EXPECT_EQ(gone, 0u);
    out(PciHotplug::bus, 0);
    EXPECT_EQ(in(PciHotplug::up), 1u << 2);
}

TEST_F(PciHotplugTest, AResetForgetsWhatWasToBeTold) {
    device.plugged(2, true);
    device.ask_back(2);
    device.reset();
    EXPECT_EQ(in(PciHotplug::up), 0u);
    EXPECT_EQ(in(PciHotplug::down), 0u);
    EXPECT_EQ(in(PciHotplug::removable), 1u << 2);
}

TEST_F(PciHotplugTest, SavedAndLoaded) {
    device.plugged(2, true);
    device.plugged(7, false);
    device.ask_back(7);
    PciHotplug other(log, {});
    other.plugged(2, false);
    other.plugged(7, false);
    ASSERT_TRUE(load(other, save(device)).ok());
    EXPECT_EQ(save(other), save(device));
    EXPECT_EQ(other.read(PciHotplug::up, 4), 1u << 2);
    EXPECT_EQ(other.read(PciHotplug::down, 4), 1u << 7);
    EXPECT_EQ(other.asked_back(), 1u << 7);
}

// Slots that a saved state speaks of and that are empty here.
TEST_F(PciHotplugTest, ALoadedStateKeepsToWhatIsPluggedIn) {
    device.plugged(2, true);
    device.ask_back(2);
    PciHotplug other(log, {});
    ASSERT_TRUE(load(other, save(device)).ok());
    EXPECT_EQ(other.read(PciHotplug::up, 4), 0u);
    EXPECT_EQ(other.asked_back(), 0u);
}

} // namespace
