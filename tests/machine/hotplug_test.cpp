// Devices that come and go in a machine that stands still, and states with them.
#include "frontend/backends/io_loop.h"
#include "frontend/backends/loop_worker.h"
#include "tests/machine/state_in_memory.h"

#include <gtest/gtest.h>

namespace calque::machine {
namespace {

using devices::PciHotplug;
using testing::SmallMachine;

constexpr u64 ports = PciHotplug::default_base;
constexpr u64 ones = 0xFFFF'FFFF;

class HotplugTest : public ::testing::Test {
  protected:
    HotplugTest() { backends.worker = &worker; }

    // What it says; empty when it was done.
    static std::string add(SmallMachine& in, const DeviceRequest& request) {
        std::string said = "nothing was said";
        in.machine->hotplug().add(request, [&](const Result<void>& done) { said = done ? "" : done.error().message; });
        static_cast<void>(in.machine->serve_requests());
        return said;
    }
    static std::string remove(SmallMachine& in, const std::string& id, bool force = false) {
        std::string said = "nothing was said";
        in.machine->hotplug().remove(id, force,
                                     [&](const Result<void>& done) { said = done ? "" : done.error().message; });
        static_cast<void>(in.machine->serve_requests());
        return said;
    }
    static u64 in(SmallMachine& from, u64 offset) { return from.machine->chipset().ports().read(ports + offset, 4); }
    static void eject(SmallMachine& from, u32 slots) {
        from.machine->chipset().ports().write(ports + PciHotplug::eject, slots, 4);
        static_cast<void>(from.machine->serve_requests());
    }
    static std::string names(SmallMachine& of) {
        std::string text;
        for (const auto& entry : of.machine->chipset().inventory())
            text += entry->name + " ";
        return text;
    }

    backends::IoLoop loop;
    backends::LoopWorker worker{loop};
    ChipsetBackends backends;
};

TEST_F(HotplugTest, AddressesOfADeviceThatIsGoneReadAsOnes) {
    SmallMachine small(4, {}, backends);
    std::vector<std::string> gone;
    small.machine->set_observer([&](const Event& event) {
        if (const auto* deleted = std::get_if<event::DeviceDeleted>(&event)) gone.push_back(deleted->path);
    });
    ASSERT_EQ(add(small, {"qemu-xhci", "usb", {{"addr", "5"}}}), "");
    EXPECT_EQ(in(small, PciHotplug::up), 1u << 5);
    auto& pci = small.machine->chipset().pci();
    auto& memory = small.machine->chipset().memory_bus();
    constexpr u64 base = 0xFE00'0000;
    pci.config_write(0, 5 * 8, 0x10, base, 4);
    pci.config_write(0, 5 * 8, 0x14, 0, 4);
    pci.config_write(0, 5 * 8, 0x04, 2, 2);
    EXPECT_NE(memory.read(base, 4), ones);
    EXPECT_EQ(remove(small, "usb"), "");
    EXPECT_EQ(in(small, PciHotplug::down), 1u << 5);
    EXPECT_NE(memory.read(base, 4), ones) << "the guest has not let go of it";
    eject(small, 1u << 5);
    EXPECT_EQ(memory.read(base, 4), ones);
    EXPECT_EQ(pci.config_read(0, 5 * 8, 0, 4), ones);
    EXPECT_EQ(gone, std::vector<std::string>{"/machine/peripheral/usb"});
    EXPECT_EQ(names(small), "");
    EXPECT_EQ(add(small, {"qemu-xhci", "usb", {{"addr", "5"}}}), "") << "the slot and the name are free again";
}

TEST_F(HotplugTest, AControllerTakesAlongWhatIsPluggedIntoIt) {
    SmallMachine small(4, {{"qemu-xhci", "usb", {}}}, backends);
    ASSERT_EQ(add(small, {"usb-kbd", "kbd", {}}), "");
    ASSERT_EQ(add(small, {"usb-tablet", "tablet", {{"port", "4"}}}), "");
    EXPECT_EQ(small.machine->chipset().inputs().pointers().size(), 2u);
    eject(small, 1u << 2);
    EXPECT_EQ(names(small), "");
    EXPECT_EQ(small.machine->chipset().inputs().pointers().size(), 1u);
    EXPECT_NE(add(small, {"usb-kbd", "kbd", {}}).find("needs a USB controller"), std::string::npos);
}

TEST_F(HotplugTest, WhatIsRefusedLeavesNothingBehind) {
    SmallMachine small(4, {{"qemu-xhci", "usb", {}}}, backends);
    const auto before = small.devices();
    for (const auto& [request, words] : std::vector<std::pair<DeviceRequest, std::string>>{
             {{"qemu-xhci", "usb", {}}, "called 'usb'"},
             {{"qemu-xhci", "pci", {}}, "called 'pci'"},
             {{"qemu-xhci", "u", {{"addr", "2"}}}, "slot 2 is taken"},
             {{"qemu-xhci", "u", {{"addr", "3.1"}}}, "function 0"},
             {{"qemu-xhci", "u", {{"p2", "99"}}}, "p2 and p3"},
             {{"qemu-xhci", "u", {{"bootindex", "1"}}}, "bootindex"},
             {{"usb-kbd", "k", {{"port", "9"}}}, "no such USB 2 port"},
             {{"pci-bridge", "b", {{"chassis_nr", "1"}}}, "from the start"},
             {{"virtio-blk-pci", "d", {{"drive", "x"}}}, "no -drive with id=x"}}) {
        const std::string said = add(small, request);
        EXPECT_NE(said.find(words), std::string::npos) << said;
    }
    EXPECT_EQ(remove(small, "nobody"), "there is no device 'nobody'");
    EXPECT_EQ(small.devices(), before);
}

TEST_F(HotplugTest, AResetTakesWhatTheGuestWasAskedFor) {
    SmallMachine small(4, {{"qemu-xhci", "a", {}}, {"qemu-xhci", "b", {}}}, backends);
    EXPECT_EQ(remove(small, "a"), "");
    small.machine->request_reset();
    static_cast<void>(small.machine->serve_requests());
    EXPECT_EQ(names(small), "b ");
    EXPECT_EQ(remove(small, "b", true), "");
    EXPECT_EQ(names(small), "");
}

// One was plugged in, in its own time; the other comes from a command line that has them the other way round.
TEST_F(HotplugTest, AStateLoadsWhereTheSameDevicesAreInTheSameSlots) {
    SmallMachine from(4, {{"qemu-xhci", "b", {{"addr", "6"}}}}, backends);
    ASSERT_EQ(add(from, {"nec-usb-xhci", "a", {{"addr", "5"}}}), "");
    from.machine->chipset().pci().config_write(0, 5 * 8, 0x3C, 0x51, 1);
    from.machine->chipset().pci().config_write(0, 6 * 8, 0x3C, 0x61, 1);
    SmallMachine to(4, {{"nec-usb-xhci", "a", {{"addr", "5"}}}, {"qemu-xhci", "b", {{"addr", "6"}}}}, backends);
    const auto restored = to.restore(from.save());
    ASSERT_TRUE(restored.ok()) << restored.error().message;
    EXPECT_EQ(to.machine->chipset().pci().config_read(0, 5 * 8, 0x3C, 1), 0x51u);
    EXPECT_EQ(to.machine->chipset().pci().config_read(0, 6 * 8, 0x3C, 1), 0x61u);
    EXPECT_EQ(to.devices(), from.devices());
}

TEST_F(HotplugTest, AStateIsRefusedWhereDevicesDiffer) {
    SmallMachine from(4, {}, backends), none(4, {}, backends),
        elsewhere(4, {{"qemu-xhci", "a", {{"addr", "6"}}}}, backends);
    ASSERT_EQ(add(from, {"qemu-xhci", "a", {{"addr", "5"}}}), "");
    const auto state = from.save();
    const auto without = none.restore(state), moved = elsewhere.restore(state);
    ASSERT_FALSE(without.ok());
    EXPECT_NE(without.error().message.find("there alone: a;"), std::string::npos) << without.error().message;
    ASSERT_FALSE(moved.ok());
    EXPECT_NE(moved.error().message.find("a@pci.0:05.0"), std::string::npos) << moved.error().message;
}

} // namespace
} // namespace calque::machine
