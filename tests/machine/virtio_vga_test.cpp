// The VGA that is a virtio display too: which of the two is seen.
#include "base/manual_clock.h"
#include "frontend/machine/kinds/virtio_vga.h"
#include "tests/devices/manual_worker.h"
#include "tests/devices/saving.h"
#include "tests/devices/virtio_driver.h"

namespace calque::machine {
namespace {

using namespace devices;

class VirtioVgaTest : public testing::Test {
  protected:
    VirtioVgaTest() { make(); }
    void make() {
        device.reset();
        VirtioPciOptions pci{"vga0"};
        pci.legacy = false;
        pci.vectors = 0;
        Vga::Options vga;
        vga.memory = u64{8} << 20;
        device = std::make_unique<VirtioVga>(board.log, clock, board.ram, worker, pci,
                                             VirtioGpu::Options{true, 640, 480}, vga, [] {});
        device->map_legacy(board.ports, board.memory_bus);
        board.plug(device->function());
        board.write_config(pci::BAR0, framebuffer, 4);
        board.write_config(pci::BAR0 + 8, registers, 4);
    }
    // By the DISPI registers in BAR 2: 16 by 8 pixels of 32 bits.
    void set_vga_mode() {
        for (const auto& [index, value] : {std::pair{4u, 0u}, {1u, 16u}, {2u, 8u}, {3u, 32u}, {4u, 0x41u}})
            board.memory_bus.write(registers + 0x500 + 2 * index, value, 2);
        board.ports.read(0x3DA, 1);
        board.ports.write(0x3C0, 0x20, 1); // The screen is on.
    }
    u32 ask(u32 type, const std::vector<u32>& words) {
        const u64 at = test::VirtioDriver::base(0) + 0x4000, answer = test::VirtioDriver::base(0) + 0x6000;
        for (unsigned i = 0; i < 6; ++i)
            driver.poke<u32>(at + 4 * i, 0);
        driver.poke<u32>(at, type);
        for (std::size_t i = 0; i < words.size(); ++i)
            driver.poke<u32>(at + 24 + 4 * i, words[i]);
        driver.descriptor(0, 0, at, static_cast<u32>(24 + 4 * words.size()), test::VirtioDriver::NEXT, 1);
        driver.descriptor(0, 1, answer, 2048, test::VirtioDriver::WRITE);
        driver.make_available(0, 0);
        driver.notify(0);
        worker.run();
        return driver.peek<u32>(answer);
    }
    void start() {
        ASSERT_TRUE(driver.begin(u64{1} << 32 | 1 << 1));
        driver.set_queue(0);
        driver.set_queue(1);
        driver.go();
        worker.run();
        EXPECT_EQ(ask(0x101, {7, 2, 8, 4}), 0x1100u); // A resource of 8 by 4.
    }
    std::pair<u32, u32> seen() {
        device->take_picture(surface);
        return {surface.width, surface.height};
    }
    static constexpr std::pair<u32, u32> of_vga{16, 8}, of_gpu{8, 4}, of_no_scanout{640, 480};

    static constexpr u64 framebuffer = 0xD000'0000, registers = 0xD100'0000;
    test::PciBoard board;
    ManualClock clock;
    test::ManualWorker worker;
    test::VirtioDriver driver{board};
    std::unique_ptr<VirtioVga> device;
    Surface surface;
};

TEST_F(VirtioVgaTest, IsAVgaOfVirtio) {
    EXPECT_EQ(board.config(0, 4), 0x1050'1AF4u);
    EXPECT_EQ(board.config(8, 4) >> 8, 0x030000u);
    EXPECT_EQ(board.memory_bus.read(registers + 0x500, 2), 0xB0C5u); // DISPI's version.
    EXPECT_EQ(driver.features() >> 32 & 1, 1u);
}

TEST_F(VirtioVgaTest, IsTheVgaUntilTheDriverShowsSomething) {
    set_vga_mode();
    EXPECT_EQ(seen(), of_vga);
    EXPECT_FALSE(device->text());
    start();
    EXPECT_EQ(seen(), of_vga);
    EXPECT_EQ(ask(0x103, {0, 0, 8, 4, 0, 7}), 0x1100u);
    EXPECT_EQ(seen(), of_gpu);
    // A driver that shows nothing for a while is still the driver.
    EXPECT_EQ(ask(0x103, {0, 0, 0, 0, 0, 0}), 0x1100u);
    EXPECT_EQ(seen(), of_no_scanout);
}

TEST_F(VirtioVgaTest, AResetOfTheDisplayOrTheMachineGivesTheVgaBack) {
    set_vga_mode();
    start();
    ask(0x103, {0, 0, 8, 4, 0, 7});
    driver.write(0x14, 0, 1); // By the driver's own reset, as a kernel does that starts another.
    EXPECT_EQ(seen(), of_vga);
    start();
    ask(0x103, {0, 0, 8, 4, 0, 7});
    EXPECT_EQ(seen(), of_gpu);
    device->reset();
    EXPECT_NE(seen(), of_gpu);
    EXPECT_NE(seen(), of_no_scanout);
}

TEST_F(VirtioVgaTest, UpdatesDrawAllWhenTheOtherTakesOver) {
    set_vga_mode();
    start();
    // Both screens have the same size, so that nothing but the change itself tells.
    EXPECT_EQ(ask(0x101, {9, 2, 16, 8}), 0x1100u);
    board.memory_bus.write(framebuffer, 0x00AB'CDEF, 4);
    device->update(surface);
    EXPECT_EQ(surface.pixels.at(0), 0x00AB'CDEFu);
    ask(0x103, {0, 0, 16, 8, 0, 9});
    auto damage = device->update(surface);
    EXPECT_TRUE(damage.resized || (damage.first == 0 && damage.end == 8));
    EXPECT_EQ(surface.pixels.at(0), 0u);
    damage = device->update(surface);
    EXPECT_GE(damage.first, damage.end);
    driver.write(0x14, 0, 1);
    damage = device->update(surface);
    EXPECT_EQ(damage.end, 8u);
    EXPECT_EQ(surface.pixels.at(0), 0x00AB'CDEFu);
    device->stop_updates();
    device->stop_updates();
}

TEST_F(VirtioVgaTest, ASavedStateKnowsWhoseTheScreenIs) {
    set_vga_mode();
    const auto with_vga = test::save(*device);
    start();
    ask(0x103, {0, 0, 8, 4, 0, 7});
    ask(0x103, {0, 0, 0, 0, 0, 0});
    const auto with_gpu = test::save(*device);
    make();
    ASSERT_TRUE(test::load(*device, with_gpu).ok());
    EXPECT_EQ(seen(), of_no_scanout);
    EXPECT_EQ(ask(0x103, {0, 0, 8, 4, 0, 7}), 0x1100u);
    ASSERT_TRUE(test::load(*device, with_vga).ok());
    EXPECT_EQ(seen(), of_vga);
}

} // namespace
} // namespace calque::machine
