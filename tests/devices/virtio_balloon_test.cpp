#include "devices/virtio/virtio_balloon.h"
#include "tests/devices/manual_worker.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

class VirtioBalloonTest : public testing::Test, public RamDiscard {
  protected:
    VirtioBalloonTest() { make(); }
    void make() {
        device.reset();
        const VirtioBalloon::Options options{64 << 20, true};
        device = std::make_unique<VirtioPci>(
            board.log, board.ram, VirtioPciOptions{"balloon0", true, true, 0, 0x00FF00}, virtio::Id::balloon,
            VirtioBalloon::config_size, VirtioBalloon::queues, [&](DmaPort& memory) {
                return std::make_unique<VirtioBalloon>(board.log, memory, worker, *this, options, "balloon0");
            });
        board.plug(device->function());
    }
    VirtioBalloon& balloon() { return static_cast<VirtioBalloon&>(device->kind()); }
    void start() {
        ASSERT_TRUE(driver.begin(u64{1} << 32 | 1 << 2));
        driver.set_queue(0);
        driver.set_queue(1);
        driver.go();
        worker.run();
    }
    void list(unsigned queue, const std::vector<u32>& pages, u64 at = 0x1000) {
        for (std::size_t i = 0; i < pages.size(); ++i)
            driver.poke<u32>(at + 4 * i, pages[i]);
        driver.descriptor(queue, 0, at, static_cast<u32>(4 * pages.size()), 0);
        driver.make_available(queue, 0);
        driver.notify(queue);
        worker.run();
    }
    void discard_page(PhysicalAddress address) override { discarded.push_back(address.value); }

    std::vector<u64> discarded;
    test::PciBoard board;
    test::ManualWorker worker;
    test::VirtioDriver driver{board};
    std::unique_ptr<VirtioPci> device;
};

TEST_F(VirtioBalloonTest, TellsTheGuestHowMuchToGive) {
    start();
    const u8 before = static_cast<u8>(driver.read(0x15, 1));
    balloon().set_target(48 << 20);
    EXPECT_EQ(driver.read(VirtioPci::device_offset, 4), 4096u) << "16 MiB in pages";
    EXPECT_NE(driver.read(0x15, 1), before) << "the configuration's generation";
    driver.write(VirtioPci::device_offset + 4, 1024, 4);
    EXPECT_EQ(balloon().actual(), 60u << 20);
    EXPECT_EQ(balloon().target(), 48u << 20);
    balloon().set_target(~u64{0});
    EXPECT_EQ(driver.read(VirtioPci::device_offset, 4), 0u);
}

TEST_F(VirtioBalloonTest, PagesThatAreGivenAreDiscarded) {
    start();
    list(0, {5, 0x12345, ~0u});
    EXPECT_EQ(discarded, (std::vector<u64>{0x5000, 0x1234'5000, u64{~0u} << 12}));
    EXPECT_EQ(driver.used(0), 1u);
    discarded.clear();
    list(1, {5});
    EXPECT_TRUE(discarded.empty()) << "taken back";
    EXPECT_EQ(driver.used(1), 1u);
}

TEST_F(VirtioBalloonTest, AListThatIsNotMemoryStopsIt) {
    start();
    driver.descriptor(0, 0, 0x7FFF'0000, 64, 0);
    driver.make_available(0, 0);
    driver.notify(0);
    worker.run();
    EXPECT_TRUE(driver.status() & virtio::STATUS_NEEDS_RESET);
}

TEST_F(VirtioBalloonTest, ASavedBalloonStaysAsLarge) {
    start();
    balloon().set_target(32 << 20);
    driver.write(VirtioPci::device_offset + 4, 8192, 4);
    const auto state = test::save(*device);
    make();
    ASSERT_TRUE(test::load(*device, state).ok());
    EXPECT_EQ(balloon().actual(), 32u << 20);
    EXPECT_EQ(driver.read(VirtioPci::device_offset, 4), 8192u);
}

} // namespace
} // namespace calque::devices
