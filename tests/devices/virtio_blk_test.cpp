#include "devices/virtio/virtio_blk.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using Bytes = std::vector<u8>;
constexpr u64 VERSION_1 = u64{1} << 32;
constexpr u64 FLUSH = 1 << 9, CONFIG_WCE = 1 << 11, MQ = 1 << 12, DISCARD = 1 << 13, WRITE_ZEROES = 1 << 14;
constexpr u64 all = VERSION_1 | FLUSH | CONFIG_WCE | DISCARD | WRITE_ZEROES;

class VirtioBlkTest : public testing::Test {
  protected:
    VirtioBlkTest() { make({}); }
    void make(VirtioBlkOptions options) {
        device.reset();
        board = std::make_unique<test::PciBoard>();
        driver = std::make_unique<test::VirtioDriver>(*board);
        options.serial = "disk-serial";
        device = std::make_unique<VirtioPci>(
            board->log, board->ram, VirtioPciOptions{"blk0", true, true, ~0u, 0x010000}, virtio::Id::block,
            VirtioBlk::config_size, options.queues, [&](DmaPort& memory) {
                return std::make_unique<VirtioBlk>(board->log, memory, worker, disk, options, "blk0");
            });
        board->plug(device->function());
    }
    void start(u64 features = all, unsigned queues = 1) {
        ASSERT_TRUE(driver->begin(features));
        for (unsigned i = 0; i < queues; ++i)
            driver->set_queue(i);
        driver->go();
        worker.run();
    }
    static constexpr u64 header = 0x1000, data = 0x2000, status = 0x1100;
    // Header, data, status as three descriptors, or as two where there is no data.
    void ask(u32 type, u64 sector, u32 length, bool to_guest, unsigned queue = 0) {
        driver->poke<u32>(header, type);
        driver->poke<u32>(header + 4, 0);
        driver->poke<u64>(header + 8, sector);
        driver->poke<u8>(status, 0xEE);
        using D = test::VirtioDriver;
        driver->descriptor(queue, 0, header, 16, D::NEXT, length ? 1 : 2);
        if (length)
            driver->descriptor(queue, 1, data, length, static_cast<u16>(D::NEXT | (to_guest ? D::WRITE : 0)), 2);
        driver->descriptor(queue, 2, status, 1, D::WRITE);
        driver->make_available(queue, 0);
        driver->notify(queue);
        worker_ran = worker.run();
    }
    u8 answer() { return driver->peek<u8>(status); }
    void put_range(unsigned n, u64 sector, u32 count, u32 flags) {
        driver->poke<u64>(data + 16 * n, sector);
        driver->poke<u32>(data + 16 * n + 8, count);
        driver->poke<u32>(data + 16 * n + 12, flags);
    }
    Bytes in_memory(std::size_t size) const {
        const auto at = board->ram.bytes.begin() + data;
        return {at, at + static_cast<std::ptrdiff_t>(size)};
    }
    Bytes sectors(u64 first, u64 count) const {
        const auto at = disk.bytes.begin() + static_cast<std::ptrdiff_t>(first * 512);
        return {at, at + static_cast<std::ptrdiff_t>(count * 512)};
    }

    test::FakeDisk disk{4096};
    test::ManualWorker worker;
    unsigned worker_ran = 0; // Tasks after the last ask().
    std::unique_ptr<test::PciBoard> board;
    std::unique_ptr<test::VirtioDriver> driver;
    std::unique_ptr<VirtioPci> device;
};

TEST_F(VirtioBlkTest, SaysHowLargeTheDiskIs) {
    EXPECT_EQ(board->config(0, 4), 0x10011AF4u);
    const u64 config = VirtioPci::device_offset;
    EXPECT_EQ(driver->read(config, 4), 4096u);
    EXPECT_EQ(driver->read(config + 12, 4), 254u);
    EXPECT_EQ(driver->read(config + 20, 4), 512u);
    EXPECT_EQ(driver->features() & all, all);
    EXPECT_EQ(driver->features() & MQ, 0u);
    disk.is_read_only = true;
    make({});
    EXPECT_EQ(driver->features() & (DISCARD | WRITE_ZEROES | 1 << 5), u64{1 << 5});
}

TEST_F(VirtioBlkTest, ReadsAndWritesSectors) {
    start();
    ask(0, 7, 2048, true);
    EXPECT_EQ(driver->used(0), 0u) << "the disk has not answered";
    disk.settle();
    EXPECT_EQ(driver->used(0), 1u);
    EXPECT_EQ(driver->used_element(0, 0), (std::pair<u32, u32>(0, 2049)));
    EXPECT_EQ(answer(), 0);
    EXPECT_TRUE(in_memory(2048) == sectors(7, 4));
    EXPECT_TRUE(board->lines.levels.size() > 0) << "it interrupts";
    ask(1, 100, 2048, false);
    disk.settle();
    EXPECT_EQ(answer(), 0);
    EXPECT_EQ(driver->used_element(0, 1), (std::pair<u32, u32>(0, 1)));
    EXPECT_TRUE(sectors(100, 4) == in_memory(2048));
}

TEST_F(VirtioBlkTest, WhatIsAtHandIsReadWithinTheNotification) {
    start();
    disk.at_hand = true;
    ask(0, 7, 2048, true);
    EXPECT_TRUE(disk.waiting.empty());
    EXPECT_EQ(driver->used_element(0, 0), (std::pair<u32, u32>(0, 2049)));
    EXPECT_EQ(answer(), 0);
    EXPECT_TRUE(in_memory(2048) == sectors(7, 4));
    EXPECT_EQ(worker_ran, 0u) << "the worker is not woken";
    ask(0, 4096, 512, true);
    EXPECT_EQ(answer(), 1) << "beyond the end";
    ask(1, 100, 2048, false);
    EXPECT_EQ(disk.waiting.size(), 1u) << "writes wait for the host";
}

TEST_F(VirtioBlkTest, FlushesAndTellsItsSerial) {
    start();
    ask(4, 0, 0, false);
    disk.settle();
    EXPECT_EQ(answer(), 0);
    EXPECT_EQ(disk.flushes, 1u);
    ask(8, 0, 20, true);
    EXPECT_EQ(answer(), 0);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(&board->ram.bytes[data])), "disk-serial");
}

TEST_F(VirtioBlkTest, ErrorsGoToTheGuest) {
    start();
    ask(0, 4096, 512, true);
    disk.settle();
    EXPECT_EQ(answer(), 1) << "beyond the end";
    ask(0, ~u64{0}, 512, true);
    EXPECT_EQ(answer(), 1);
    ask(0, 0, 100, true);
    EXPECT_EQ(answer(), 1) << "not whole sectors";
    ask(77, 0, 512, true);
    EXPECT_EQ(answer(), 2) << "unknown";
    disk.failure = BlockStatus::io_error;
    ask(1, 0, 512, false);
    disk.settle();
    EXPECT_EQ(answer(), 1);
    EXPECT_EQ(driver->status(), 15) << "and nothing needs a reset";
}

TEST_F(VirtioBlkTest, DiscardsAndWritesZeroes) {
    start();
    put_range(0, 10, 2, 0);
    put_range(1, 20, 1, 0);
    ask(11, 0, 32, false);
    disk.settle();
    EXPECT_EQ(answer(), 0);
    EXPECT_TRUE(sectors(10, 2) == Bytes(1024));
    EXPECT_TRUE(sectors(20, 1) == Bytes(512));
    put_range(0, 30, 1, 1);
    ask(13, 0, 16, false);
    disk.settle();
    EXPECT_EQ(answer(), 0);
    EXPECT_TRUE(sectors(30, 1) == Bytes(512));
    put_range(0, 40, 1, 1);
    ask(11, 0, 16, false);
    EXPECT_EQ(answer(), 2) << "unmap is a flag of write zeroes only";
    put_range(0, 4095, 2, 0);
    ask(13, 0, 16, false);
    disk.settle();
    EXPECT_EQ(answer(), 1);
    ask(13, 0, 15, false);
    EXPECT_EQ(answer(), 1);
}

TEST_F(VirtioBlkTest, TheDriverChoosesTheWriteCache) {
    start();
    const u64 writeback = VirtioPci::device_offset + 32;
    EXPECT_EQ(driver->read(writeback, 1), 1u);
    driver->write(writeback, 0, 1);
    EXPECT_FALSE(disk.cache);
    driver->write(writeback, 1, 1);
    EXPECT_TRUE(disk.cache);
    start(VERSION_1);
    EXPECT_FALSE(disk.cache) << "who cannot flush must not need to";
}

TEST_F(VirtioBlkTest, ARequestWithoutRoomForItsStatusNeedsAReset) {
    start();
    driver->poke<u32>(header, 0);
    driver->descriptor(0, 0, header, 16, 0);
    driver->make_available(0, 0);
    driver->notify(0);
    worker.run();
    EXPECT_TRUE(driver->status() & 64);
    driver->poke<u16>(test::VirtioDriver::base(0) + 0x1002, 0); // An empty ring again.
    start();
    EXPECT_EQ(driver->status(), 15);
    ask(0, 0, 512, true);
    driver->descriptor(0, 1, 0xF000'0000, 512, 3, 2); // Behind the device's back: it has its copy.
    disk.settle();
    EXPECT_EQ(answer(), 0);
    driver->descriptor(0, 1, 0xF000'0000, 512, 3, 2);
    driver->make_available(0, 0);
    driver->notify(0);
    worker.run();
    disk.settle();
    EXPECT_TRUE(driver->status() & 64) << "what is read goes nowhere";
}

TEST_F(VirtioBlkTest, AResetForgetsWhatIsUnderWay) {
    start();
    ask(0, 0, 512, true);
    driver->write(0x14, 0, 1);
    disk.settle();
    EXPECT_TRUE(in_memory(512) == Bytes(512));
    EXPECT_EQ(driver->used(0), 0u);
    ask(0, 0, 512, true);
    device.reset(); // The device goes before the disk has answered.
    disk.settle();
}

TEST_F(VirtioBlkTest, SeveralQueues) {
    VirtioBlkOptions options;
    options.queues = 3;
    make(options);
    EXPECT_TRUE(driver->features() & MQ);
    EXPECT_EQ(driver->read(VirtioPci::device_offset + 34, 2), 3u);
    start(all | MQ, 3);
    ask(0, 3, 512, true, 2);
    disk.settle();
    EXPECT_EQ(driver->used(2), 1u);
    EXPECT_EQ(driver->used(0), 0u);
    EXPECT_TRUE(in_memory(512) == sectors(3, 1));
}

TEST_F(VirtioBlkTest, GoesOnAfterItWasLoaded) {
    start();
    driver->write(VirtioPci::device_offset + 32, 0, 1);
    ask(0, 1, 512, true);
    disk.settle();
    const auto saved = test::save(*device);
    device->reset();
    EXPECT_TRUE(disk.cache);
    const auto loaded = test::load(*device, saved);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_FALSE(disk.cache);
    ask(0, 2, 512, true);
    disk.settle();
    EXPECT_EQ(driver->used(0), 2u);
    EXPECT_TRUE(in_memory(512) == sectors(2, 1));
}

} // namespace
} // namespace calque::devices
