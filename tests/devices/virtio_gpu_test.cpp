#include "devices/virtio/virtio_gpu.h"
#include "tests/devices/manual_worker.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

constexpr unsigned control = 0, cursor = 1;

class VirtioGpuTest : public testing::Test {
  protected:
    VirtioGpuTest() { make(); }
    void make() {
        device.reset();
        VirtioPciOptions options{"gpu0"};
        options.legacy = false;
        options.vectors = 0;
        device = std::make_unique<VirtioPci>(board.log, board.ram, options, virtio::Id::gpu, VirtioGpu::config_size,
                                             VirtioGpu::queues, [&](DmaPort& memory) {
                                                 return std::make_unique<VirtioGpu>(board.log, memory, worker,
                                                                                    VirtioGpu::Options{true, 640, 480},
                                                                                    "gpu0");
                                             });
        board.plug(device->function());
    }
    VirtioGpu& gpu() { return static_cast<VirtioGpu&>(device->kind()); }
    void start() {
        ASSERT_TRUE(driver.begin(u64{1} << 32 | 1 << 1));
        driver.set_queue(control);
        driver.set_queue(cursor);
        driver.go();
        worker.run();
    }
    // Words behind the header's type; the response's type.
    u32 ask(u32 type, const std::vector<u32>& words, unsigned queue = control, u32 room = 2048) {
        const u64 at = test::VirtioDriver::base(queue) + 0x4000;
        for (unsigned i = 0; i < 6; ++i)
            driver.poke<u32>(at + 4 * i, 0);
        driver.poke<u32>(at, type);
        for (std::size_t i = 0; i < words.size(); ++i)
            driver.poke<u32>(at + 24 + 4 * i, words[i]);
        driver.descriptor(queue, 0, at, static_cast<u32>(24 + 4 * words.size()), test::VirtioDriver::NEXT, 1);
        driver.descriptor(queue, 1, answer(queue), room, test::VirtioDriver::WRITE);
        driver.make_available(queue, 0);
        driver.notify(queue);
        worker.run();
        return driver.peek<u32>(answer(queue));
    }
    static u64 answer(unsigned queue) { return test::VirtioDriver::base(queue) + 0x6000; }
    // An 8 by 4 screen whose pixels lie in two pieces of memory.
    void show() {
        start();
        EXPECT_EQ(ask(0x101, {7, 2, 8, 4}), 0x1100u);
        EXPECT_EQ(ask(0x106, {7, 2, pixels, 0, 40, 0, pixels + 0x100, 0, 88, 0}), 0x1100u);
        EXPECT_EQ(ask(0x103, {0, 0, 8, 4, 0, 7}), 0x1100u);
        for (u32 i = 0; i < 32; ++i)
            driver.poke<u32>(i < 10 ? pixels + 4 * i : pixels + 0x100 + 4 * (i - 10), 0xAB00'0000 | i);
        EXPECT_EQ(ask(0x105, {0, 0, 8, 4, 0, 0, 7, 0}), 0x1100u);
        EXPECT_EQ(ask(0x104, {0, 0, 8, 4, 7, 0}), 0x1100u);
    }

    static constexpr u32 pixels = 0x40000;
    test::PciBoard board;
    test::ManualWorker worker;
    test::VirtioDriver driver{board};
    std::unique_ptr<VirtioPci> device;
    Surface surface;
};

TEST_F(VirtioGpuTest, SaysWhatItHas) {
    start();
    EXPECT_EQ(driver.read(VirtioPci::device_offset + 8, 4), 1u) << "one screen";
    EXPECT_EQ(ask(0x100, {}), 0x1101u);
    EXPECT_EQ(driver.peek<u32>(answer(control) + 24 + 8), 640u);
    EXPECT_EQ(driver.used_element(control, 0).second, 408u);
    EXPECT_EQ(ask(0x10A, {0, 0}), 0x1104u);
    EXPECT_EQ(driver.peek<u32>(answer(control) + 24), 128u);
    EXPECT_EQ(driver.peek<u32>(answer(control) + 32), 0xFFFF'FF00u) << "an EDID";
    EXPECT_EQ(ask(0x10A, {1, 0}), 0x1205u);
    EXPECT_EQ(ask(0x999, {}), 0x1200u);
}

TEST_F(VirtioGpuTest, ShowsWhatWasTransferredWhenItIsFlushed) {
    show();
    EXPECT_TRUE(gpu().update(surface).resized);
    ASSERT_EQ(surface.width, 8u);
    ASSERT_EQ(surface.height, 4u);
    for (u32 i = 0; i < 32; ++i)
        EXPECT_EQ(surface.pixels[i], i);
    driver.poke<u32>(pixels + 0x100 + 4 * 7, 0x1234); // Pixel 17: x 1, y 2.
    EXPECT_EQ(ask(0x105, {1, 2, 1, 1, 68, 0, 7, 0}), 0x1100u);
    Display::Damage damage = gpu().update(surface);
    EXPECT_GE(damage.first, damage.end) << "it was not flushed";
    EXPECT_EQ(ask(0x104, {1, 2, 1, 1, 7, 0}), 0x1100u);
    damage = gpu().update(surface);
    EXPECT_EQ(damage.first, 2u);
    EXPECT_EQ(damage.end, 3u);
    EXPECT_EQ(surface.pixels[17], 0x1234u);
    EXPECT_EQ(ask(0x102, {7, 0}), 0x1100u);
    EXPECT_TRUE(gpu().update(surface).resized);
    EXPECT_EQ(surface.width, 640u) << "nothing is shown";
}

TEST_F(VirtioGpuTest, TheCursorLiesOnTheScreen) {
    show();
    EXPECT_EQ(ask(0x101, {9, 1, 64, 64}), 0x1100u);
    EXPECT_EQ(ask(0x106, {9, 1, 0x50000, 0, 64 * 64 * 4, 0}), 0x1100u);
    driver.poke<u32>(0x50000 + 4 * 65, 0xFFFF'0000); // Its dot at 1, 1 is red.
    EXPECT_EQ(ask(0x105, {0, 0, 64, 64, 0, 0, 9, 0}), 0x1100u);
    static_cast<void>(gpu().update(surface));
    EXPECT_EQ(ask(0x300, {0, 5, 2, 0, 9, 1, 1, 0}, cursor), 0x1100u);
    static_cast<void>(gpu().update(surface));
    EXPECT_EQ(surface.pixels[2 * 8 + 5], 0xFF'0000u);
    EXPECT_EQ(surface.pixels[2 * 8 + 4], 20u) << "the rest lets through";
    EXPECT_EQ(ask(0x301, {0, 0, 0, 0}, cursor), 0x1100u);
    static_cast<void>(gpu().update(surface));
    EXPECT_EQ(surface.pixels[2 * 8 + 5], 21u);
    EXPECT_EQ(surface.pixels[0], 0xFF'0000u);
    EXPECT_EQ(ask(0x300, {0, ~0u, ~0u, 0, 0, 0, 0, 0}, cursor), 0x1100u);
    static_cast<void>(gpu().update(surface));
    EXPECT_EQ(surface.pixels[0], 0u);
}

TEST_F(VirtioGpuTest, RequestsThatMakeNoSense) {
    show();
    EXPECT_EQ(ask(0x101, {0, 2, 8, 4}), 0x1203u);
    EXPECT_EQ(ask(0x101, {7, 2, 8, 4}), 0x1203u) << "there is one of that number";
    EXPECT_EQ(ask(0x101, {8, 77, 8, 4}), 0x1205u);
    EXPECT_EQ(ask(0x101, {8, 2, 0, 4}), 0x1205u);
    EXPECT_EQ(ask(0x101, {8, 2, 16384, 16384}), 0x1201u);
    EXPECT_EQ(ask(0x103, {1, 0, 8, 4, 0, 7}), 0x1205u) << "beyond the resource";
    EXPECT_EQ(ask(0x103, {0, 0, 8, 4, 3, 7}), 0x1202u);
    EXPECT_EQ(ask(0x104, {0, ~0u, 8, 2, 7, 0}), 0x1205u);
    EXPECT_EQ(ask(0x105, {0, 0, 8, 4, 4, 0, 7, 0}), 0x1205u) << "the memory behind it ends before";
    EXPECT_EQ(ask(0x106, {7, 1000}), 0x1205u) << "a list that is not there";
    EXPECT_EQ(ask(0x107, {99, 0}), 0x1203u);
    EXPECT_EQ(ask(0x300, {0, 0, 0, 0, 7, 0, 0, 0}, cursor), 0x1205u) << "not a cursor's size";
    EXPECT_EQ(driver.status() & virtio::STATUS_NEEDS_RESET, 0);
}

TEST_F(VirtioGpuTest, ASavedScreenIsShown) {
    show();
    const auto state = test::save(*device);
    make();
    ASSERT_TRUE(test::load(*device, state).ok());
    gpu().take_picture(surface);
    ASSERT_EQ(surface.pixels.size(), 32u);
    EXPECT_EQ(surface.pixels[31], 31u);
    EXPECT_EQ(ask(0x104, {0, 0, 8, 4, 7, 0}), 0x1100u);
    device->reset();
    gpu().take_picture(surface);
    EXPECT_EQ(surface.width, 640u);
}

} // namespace
} // namespace calque::devices
