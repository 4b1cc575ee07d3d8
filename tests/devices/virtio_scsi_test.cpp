// The SCSI host and what is on it: virtio 1.2, 5.6; SPC-4, SBC-3 and MMC-5 for the units.
#include "devices/scsi/mmc_drive.h"
#include "devices/scsi/scsi_disk.h"
#include "devices/virtio/virtio_scsi.h"
#include "devices/virtio/virtio_scsi_registers.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/virtio_driver.h"

namespace calque::devices {
namespace {

using namespace virtio_scsi;
using Bytes = std::vector<u8>;
constexpr u64 VERSION_1 = u64{1} << 32;

class VirtioScsiTest : public testing::Test {
  protected:
    VirtioScsiTest() {
        make();
        start();
    }
    void make() {
        device.reset();
        board = std::make_unique<test::PciBoard>();
        driver = std::make_unique<test::VirtioDriver>(*board);
        device = std::make_unique<VirtioPci>(
            board->log, board->ram, VirtioPciOptions{"scsi0", true, true, ~0u, 0x010000}, virtio::Id::scsi,
            VirtioScsi::config_size, 3, [&](DmaPort& memory) {
                auto kind = std::make_unique<VirtioScsi>(board->log, memory, worker, VirtioScsiOptions{}, "scsi0");
                EXPECT_TRUE(kind->attach(0, 0, std::make_unique<ScsiDisk>(disk, "SERIAL")));
                EXPECT_TRUE(kind->attach(3, 1, std::make_unique<MmcDrive>(cd, false, "SERIAL")));
                return kind;
            });
        board->plug(device->function());
    }
    void start(u64 features = VERSION_1 | 1 << F_CHANGE) {
        ASSERT_TRUE(driver->begin(features));
        for (unsigned i = 0; i < 3; ++i)
            driver->set_queue(i);
        driver->go();
        worker.run();
    }
    static constexpr u64 header = 0x1000, response = 0x1200, data = 0x40000;
    // A command: header, data to the unit, response, data from it.
    void ask(Bytes cdb, u32 in = 0, u32 out = 0, u8 target = 0, u8 lun = 0, u64 tag = 7) {
        const std::array<u8, 8> address{1, target, 0x40, lun};
        cdb.resize(32);
        for (unsigned i = 0; i < 8; ++i)
            driver->poke<u8>(header + i, address[i]);
        driver->poke<u64>(header + 8, tag);
        for (unsigned i = 0; i < 32; ++i)
            driver->poke<u8>(header + 19 + i, cdb[i]);
        for (unsigned i = 0; i < 108; ++i)
            driver->poke<u8>(response + i, 0xEE);
        using D = test::VirtioDriver;
        driver->descriptor(2, 0, header, 51, D::NEXT, out ? 1 : 2);
        driver->descriptor(2, 1, data, out, D::NEXT, 2);
        driver->descriptor(2, 2, response, 108, static_cast<u16>(D::WRITE | (in ? D::NEXT : 0)), 3);
        driver->descriptor(2, 3, data, in, D::WRITE);
        driver->make_available(2, 0);
        driver->notify(2);
        settle();
    }
    void settle() {
        for (unsigned i = 0; i < 6; ++i) {
            worker.run();
            disk.settle();
            cd.settle();
        }
    }
    u8 status() { return driver->peek<u8>(response + 10); }
    u8 outcome() { return driver->peek<u8>(response + 11); }
    u32 residual() { return driver->peek<u32>(response + 4); }
    bool good() { return status() == 0 && outcome() == S_OK; }
    // Key, code, qualifier of a command that ended with CHECK CONDITION.
    Bytes sense() {
        if (status() != 2 || driver->peek<u32>(response) != 18) return {};
        const u64 at = response + 12;
        return {driver->peek<u8>(at + 2), driver->peek<u8>(at + 12), driver->peek<u8>(at + 13)};
    }
    void take_attention(u8 target = 0, u8 lun = 0) {
        ask({0}, 0, 0, target, lun);
        EXPECT_EQ(sense(), (Bytes{6, 0x29, 0})) << "it was reset";
    }
    Bytes memory(u64 address, std::size_t size) const {
        const auto at = board->ram.bytes.begin() + static_cast<std::ptrdiff_t>(address);
        return {at, at + static_cast<std::ptrdiff_t>(size)};
    }
    static Bytes of(const test::FakeDisk& medium, u64 offset, std::size_t size) {
        const auto at = medium.bytes.begin() + static_cast<std::ptrdiff_t>(offset);
        return {at, at + static_cast<std::ptrdiff_t>(size)};
    }
    // A task management function; its response, or FF when it waits.
    u8 manage(u32 function, u8 target, u8 lun, u64 tag = 7) {
        const u64 at = 0x1400;
        driver->poke<u32>(at, T_TMF);
        driver->poke<u32>(at + 4, function);
        driver->poke<u64>(at + 8, u64{1} | u64{target} << 8 | u64{0x40} << 16 | u64{lun} << 24);
        driver->poke<u64>(at + 16, tag);
        driver->poke<u8>(at + 32, 0xFF);
        driver->descriptor(0, 0, at, 24, test::VirtioDriver::NEXT, 1);
        driver->descriptor(0, 1, at + 32, 1, test::VirtioDriver::WRITE);
        driver->make_available(0, 0);
        driver->notify(0);
        worker.run();
        return driver->peek<u8>(at + 32);
    }

    test::FakeDisk disk{10'000}, cd{4096};
    test::ManualWorker worker;
    std::unique_ptr<test::PciBoard> board;
    std::unique_ptr<test::VirtioDriver> driver;
    std::unique_ptr<VirtioPci> device;
};

TEST_F(VirtioScsiTest, SaysWhatIsThere) {
    EXPECT_EQ(board->config(0, 4), 0x1004'1AF4u);
    EXPECT_EQ(driver->read(VirtioPci::device_offset, 4), 1u) << "request queues";
    EXPECT_EQ(driver->read(VirtioPci::device_offset + 20, 4), 96u);
    EXPECT_EQ(driver->read(VirtioPci::device_offset + 30, 2), 255u);
    ask({0x12, 0, 0, 0, 36}, 36);
    ASSERT_TRUE(good());
    EXPECT_EQ(memory(data, 4), (Bytes{0, 0, 5, 0x12}));
    EXPECT_EQ(memory(data + 8, 16),
              (Bytes{'C', 'A', 'L', 'Q', 'U', 'E', ' ', ' ', 'H', 'A', 'R', 'D', 'D', 'I', 'S', 'K'}));
    ask({0x12, 0, 0, 0, 36}, 36, 0, 3, 1);
    EXPECT_EQ(memory(data, 2), (Bytes{5, 0x80})) << "a CD";
    ask({0x12, 0, 0, 0, 36}, 36, 0, 3, 0);
    EXPECT_EQ(memory(data, 1), (Bytes{0x7F})) << "a target without this unit";
    ask({0x00}, 0, 0, 3, 0);
    EXPECT_EQ(sense(), (Bytes{5, 0x25, 0}));
    ask({0x12, 0, 0, 0, 36}, 36, 0, 1);
    EXPECT_EQ(outcome(), S_BAD_TARGET);
    ask({0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 64}, 64, 0, 3, 0);
    EXPECT_EQ(memory(data, 16), (Bytes{0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}));
    EXPECT_EQ(residual(), 48u);
}

TEST_F(VirtioScsiTest, VitalProductDataAndModePages) {
    ask({0x12, 1, 0, 0, 255}, 255);
    EXPECT_EQ(memory(data, 10), (Bytes{0, 0, 0, 6, 0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2}));
    ask({0x12, 1, 0x80, 0, 255}, 255);
    EXPECT_EQ(memory(data, 10), (Bytes{0, 0x80, 0, 6, 'S', 'E', 'R', 'I', 'A', 'L'}));
    ask({0x12, 1, 0x83, 0, 255}, 255);
    EXPECT_EQ(memory(data + 4, 4), (Bytes{2, 1, 0, 14}));
    ask({0x12, 1, 0xB2, 0, 255}, 255);
    EXPECT_EQ(memory(data, 7), (Bytes{0, 0xB2, 0, 4, 0, 0xE0, 2}));
    ask({0x12, 1, 0x55, 0, 255}, 255);
    EXPECT_EQ(sense(), (Bytes{5, 0x24, 0}));
    take_attention();
    ask({0x1A, 0, 0x08, 0, 255}, 255);
    EXPECT_EQ(memory(data, 7), (Bytes{23, 0, 0x10, 0, 0x08, 0x12, 0x04})) << "the write cache is on";
    // And off by MODE SELECT, which writes what it held.
    Bytes list = memory(data, 24);
    list[0] = 0;
    list[6] = 0;
    for (std::size_t i = 0; i < list.size(); ++i)
        driver->poke<u8>(data + i, list[i]);
    ask({0x15, 0x10, 0, 0, 24}, 0, 24);
    EXPECT_TRUE(good());
    EXPECT_FALSE(disk.cache);
    EXPECT_EQ(disk.flushes, 1u);
    ask({0x1A, 0, 0x7F, 0, 255}, 255);
    EXPECT_TRUE(good()) << "all pages, what can be changed";
    ask({0x1A, 0, 0x33, 0, 255}, 255);
    EXPECT_EQ(sense(), (Bytes{5, 0x24, 0}));
}

TEST_F(VirtioScsiTest, ReadsAndWritesInEveryForm) {
    take_attention();
    ask({0x25}, 8);
    EXPECT_EQ(memory(data, 8), (Bytes{0, 0, 0x27, 0x0F, 0, 0, 2, 0}));
    ask({0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32}, 32);
    EXPECT_EQ(memory(data, 15), (Bytes{0, 0, 0, 0, 0, 0, 0x27, 0x0F, 0, 0, 2, 0, 0, 0, 0x80}));
    ask({0x08, 0, 0, 10, 2}, 1024);
    EXPECT_TRUE(good() && memory(data, 1024) == of(disk, 10 * 512, 1024));
    ask({0x28, 0, 0, 0, 0, 20, 0, 0, 2}, 1024);
    EXPECT_TRUE(good() && memory(data, 1024) == of(disk, 20 * 512, 1024));
    ask({0xA8, 0, 0, 0, 0, 30, 0, 0, 0, 2}, 1024);
    EXPECT_TRUE(good() && memory(data, 1024) == of(disk, 30 * 512, 1024));
    ask({0x88, 0, 0, 0, 0, 0, 0, 0, 0, 40, 0, 0, 0, 2}, 1024);
    EXPECT_TRUE(good() && memory(data, 1024) == of(disk, 40 * 512, 1024));
    EXPECT_EQ(residual(), 0u);
    const Bytes written = memory(data, 1024);
    ask({0x2A, 0x08, 0, 0, 1, 0, 0, 0, 2}, 0, 1024);
    EXPECT_TRUE(good() && of(disk, 256 * 512, 1024) == written);
    EXPECT_EQ(disk.durable_writes, 1u);
    ask({0x8A, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2}, 0, 1024);
    EXPECT_TRUE(good() && of(disk, 512 * 512, 1024) == written);
    ask({0x35}, 0);
    EXPECT_TRUE(good());
    EXPECT_EQ(disk.flushes, 1u);
    ask({0x28, 0, 0, 0, 0, 20, 0, 0, 2}, 512);
    EXPECT_EQ(outcome(), S_OVERRUN) << "less room than it needs";
    ask({0x28, 0, 0, 0, 0x27, 0x0F, 0, 0, 2}, 1024);
    EXPECT_EQ(sense(), (Bytes{5, 0x21, 0}));
    ask({0x28, 0x20, 0, 0, 0, 0, 0, 0, 1}, 512);
    EXPECT_EQ(sense(), (Bytes{5, 0x24, 0})) << "protection information";
    ask({0xF0});
    EXPECT_EQ(sense(), (Bytes{5, 0x20, 0}));
    disk.failure = BlockStatus::io_error;
    ask({0x28, 0, 0, 0, 0, 20, 0, 0, 2}, 1024);
    EXPECT_EQ(sense(), (Bytes{3, 0x11, 0}));
    ask({0x2A, 0, 0, 0, 0, 20, 0, 0, 2}, 0, 1024);
    EXPECT_EQ(sense(), (Bytes{3, 0x0C, 0}));
    disk.failure = BlockStatus::ok;
    disk.is_read_only = true;
    ask({0x2A, 0, 0, 0, 0, 20, 0, 0, 2}, 0, 1024);
    EXPECT_EQ(sense(), (Bytes{7, 0x27, 0}));
}

TEST_F(VirtioScsiTest, LongCommandsGoInParts) {
    take_attention();
    // 1.5 MiB by way of the same memory, twice over: a chain of descriptors.
    using D = test::VirtioDriver;
    disk.bytes.resize(4 << 20);
    for (std::size_t i = 0; i < disk.bytes.size(); ++i)
        disk.bytes[i] = static_cast<u8>(i >> 9);
    ask({0x28, 0, 0, 0, 0, 0, 0, 0, 0}, 0); // The header and its places are there now.
    driver->poke<u8>(header + 19 + 7, 0x0C);
    driver->descriptor(2, 2, response, 108, D::WRITE | D::NEXT, 3);
    driver->descriptor(2, 3, data, 0x80000, D::WRITE | D::NEXT, 4);
    driver->descriptor(2, 4, data, 0x80000, D::WRITE | D::NEXT, 5);
    driver->descriptor(2, 5, data, 0x80000, D::WRITE);
    driver->make_available(2, 0);
    driver->notify(2);
    settle();
    EXPECT_TRUE(good());
    EXPECT_TRUE(memory(data, 0x80000) == of(disk, 0x100000, 0x80000));
}

TEST_F(VirtioScsiTest, UnmapsAndWritesTheSame) {
    take_attention();
    const Bytes list{0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 0};
    for (std::size_t i = 0; i < list.size(); ++i)
        driver->poke<u8>(data + i, list[i]);
    ask({0x42, 0, 0, 0, 0, 0, 0, 0, 24}, 0, 24);
    EXPECT_TRUE(good());
    EXPECT_EQ(of(disk, 5 * 512, 3 * 512), Bytes(3 * 512)) << "this disk forgets to zeros";
    driver->poke<u8>(data + 14, 0xFF);
    ask({0x42, 0, 0, 0, 0, 0, 0, 0, 24}, 0, 24);
    EXPECT_EQ(sense(), (Bytes{5, 0x21, 0}));
    for (unsigned i = 0; i < 512; ++i)
        driver->poke<u8>(data + i, static_cast<u8>(i));
    const Bytes pattern = memory(data, 512);
    ask({0x93, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0x10, 0}, 0, 512);
    EXPECT_TRUE(good());
    EXPECT_TRUE(of(disk, 100 * 512, 512) == pattern && of(disk, (100 + 4095) * 512, 512) == pattern);
    ask({0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 8});
    EXPECT_TRUE(good());
    EXPECT_EQ(of(disk, 200 * 512, 8 * 512), Bytes(8 * 512));
    ask({0x41, 0, 0, 0, 0, 5, 0, 0, 0}, 0, 512);
    EXPECT_EQ(sense(), (Bytes{5, 0x24, 0})) << "a count of none";
}

TEST_F(VirtioScsiTest, TheCdAnswersAsTheOneOnACable) {
    take_attention(3, 1);
    ask({0x25}, 8, 0, 3, 1);
    EXPECT_EQ(memory(data, 8), (Bytes{0, 0, 3, 0xFF, 0, 0, 8, 0}));
    ask({0x28, 0, 0, 0, 0, 9, 0, 0, 3}, 3 * 2048, 0, 3, 1);
    EXPECT_TRUE(good() && memory(data, 3 * 2048) == of(cd, 9 * 2048, 3 * 2048));
    ask({0x43, 0, 0, 0, 0, 0, 0, 0, 100}, 100, 0, 3, 1);
    EXPECT_EQ(memory(data, 2), (Bytes{0, 18}));
    cd.change_medium(false);
    ask({0x00}, 0, 0, 3, 1);
    EXPECT_EQ(sense(), (Bytes{2, 0x3A, 1}));
    cd.change_medium(true);
    ask({0x00}, 0, 0, 3, 1);
    EXPECT_EQ(sense(), (Bytes{6, 0x28, 0}));
    ask({0x00}, 0, 0, 3, 1);
    EXPECT_TRUE(good());
}

TEST_F(VirtioScsiTest, TasksAreAbortedOnceTheirHostIsDone) {
    take_attention();
    EXPECT_EQ(manage(TMF_ABORT_TASK, 1, 0), S_BAD_TARGET);
    EXPECT_EQ(manage(TMF_ABORT_TASK, 0, 9), S_INCORRECT_LUN);
    EXPECT_EQ(manage(99, 0, 0), S_FUNCTION_REJECTED);
    EXPECT_EQ(manage(TMF_ABORT_TASK, 0, 0), S_FUNCTION_COMPLETE) << "nothing of that tag";
    driver->poke<u8>(header + 19, 0x28);
    driver->poke<u8>(header + 19 + 8, 1);
    driver->descriptor(2, 2, response, 108, test::VirtioDriver::WRITE | test::VirtioDriver::NEXT, 3);
    driver->descriptor(2, 3, data, 512, test::VirtioDriver::WRITE);
    driver->make_available(2, 0);
    driver->notify(2);
    worker.run();
    ASSERT_EQ(disk.waiting.size(), 1u);
    EXPECT_EQ(manage(TMF_QUERY_TASK, 0, 0), S_FUNCTION_SUCCEEDED);
    EXPECT_EQ(manage(TMF_ABORT_TASK, 0, 0), 0xFF) << "it waits";
    settle();
    EXPECT_EQ(outcome(), S_ABORTED);
    EXPECT_EQ(driver->peek<u8>(0x1420), S_FUNCTION_COMPLETE);
    EXPECT_EQ(manage(TMF_LOGICAL_UNIT_RESET, 0, 0), S_FUNCTION_COMPLETE);
    take_attention();
}

TEST_F(VirtioScsiTest, AResizedDiskIsAnEventAndAnAttention) {
    take_attention();
    driver->descriptor(1, 0, 0x1600, 16, test::VirtioDriver::WRITE);
    driver->make_available(1, 0);
    driver->notify(1);
    worker.run();
    disk.change_medium(true);
    worker.run();
    EXPECT_EQ(driver->peek<u32>(0x1600), T_PARAM_CHANGE);
    EXPECT_EQ(memory(0x1604, 4), (Bytes{1, 0, 0x40, 0}));
    EXPECT_EQ(driver->peek<u32>(0x160C), 0x092Au);
    ask({0});
    EXPECT_EQ(sense(), (Bytes{6, 0x2A, 9}));
}

TEST_F(VirtioScsiTest, BrokenRequestsStopTheDevice) {
    driver->descriptor(2, 0, header, 30, test::VirtioDriver::NEXT, 1);
    driver->descriptor(2, 1, response, 108, test::VirtioDriver::WRITE);
    driver->make_available(2, 0);
    driver->notify(2);
    worker.run();
    EXPECT_TRUE(driver->status() & virtio::STATUS_NEEDS_RESET);
    driver->poke<u32>(test::VirtioDriver::base(2) + 0x1000, 0); // An empty ring.
    start();
    take_attention();
}

TEST_F(VirtioScsiTest, GoesOnAfterBeingSaved) {
    take_attention();
    const Bytes saved = test::save(*device);
    const Bytes ram = board->ram.bytes;
    make();
    board->ram.bytes = ram;
    ASSERT_TRUE(test::load(*device, saved).ok());
    ask({0x28, 0, 0, 0, 0, 20, 0, 0, 2}, 1024);
    EXPECT_TRUE(good() && memory(data, 1024) == of(disk, 20 * 512, 1024)) << "and no attention";
    Bytes damaged = saved;
    damaged[damaged.size() / 2] ^= 1;
    EXPECT_FALSE(test::load(*device, damaged).ok());
}

} // namespace
} // namespace calque::devices
