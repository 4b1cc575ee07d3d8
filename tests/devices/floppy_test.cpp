// The floppy controller, against the 82077AA's datasheet, with the DMA controller that it is wired to.
#include "devices/floppy/floppy.h"
#include "devices/i8237/i8237.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/harness.h"

namespace calque::devices {
namespace {

using namespace floppy;
using Bytes = std::vector<u8>;

class FloppyTest : public testing::Test {
  protected:
    static constexpr u32 buffer = 0x21000;

    FloppyTest() { make(); }
    void make() {
        device.reset();
        ports = std::make_unique<Bus>(Bus::Kind::ports, log);
        dma = std::make_unique<I8237>(log, memory);
        device = std::make_unique<Floppy>(log, IrqLine(lines, 6), *dma, Floppy::Drives{&disk, &small});
        ports->map(0x3F0, 6, device->ports(), "floppy");
        ports->map(0x3F7, 1, device->port_7(), "floppy-dir");
        ports->map(0x00, 16, dma->first(), "dma");
        ports->map(0x81, 15, dma->pages(), "pages");
    }
    u8 in(u16 port) { return static_cast<u8>(ports->read(port, 1)); }
    void out(u16 port, u8 value) { ports->write(port, value, 1); }
    void start() {
        out(0x3F2, 0x00);
        out(0x3F2, 0x1C); // Out of reset, DMA and interrupts, drive 0's motor.
        EXPECT_TRUE(lines.level(6));
        for (u8 drive = 0; drive < 4; ++drive)
            EXPECT_EQ(command({SENSE_INTERRUPT}), (Bytes{static_cast<u8>(0xC0 | drive), 0}));
        command({SPECIFY, 0xAF, 0x02});
        out(0x3F7, 0);
    }
    // The result of a command, once the disk is done.
    Bytes command(Bytes bytes) {
        for (const u8 byte : bytes) {
            EXPECT_EQ(in(0x3F4) & 0xC0, 0x80) << "ready for a byte";
            out(0x3F5, byte);
        }
        disk.settle();
        small.settle();
        return result();
    }
    Bytes result() {
        Bytes bytes;
        while ((in(0x3F4) & 0xE0) == 0xC0)
            bytes.push_back(in(0x3F5));
        return bytes;
    }
    void set_dma(u8 mode, u32 address, u16 length) {
        out(0x0A, 0x06);
        out(0x0C, 0);
        out(0x0B, static_cast<u8>(mode | 2));
        out(0x04, static_cast<u8>(address));
        out(0x04, static_cast<u8>(address >> 8));
        out(0x81, static_cast<u8>(address >> 16));
        out(0x05, static_cast<u8>(length - 1));
        out(0x05, static_cast<u8>((length - 1) >> 8));
        out(0x0A, 0x02);
    }
    void seek(u8 cylinder, u8 drive = 0) {
        EXPECT_EQ(command({SEEK, drive, cylinder}), Bytes{});
        EXPECT_TRUE(lines.level(6));
        EXPECT_EQ(command({SENSE_INTERRUPT}), (Bytes{static_cast<u8>(0x20 | drive), cylinder}));
    }
    Bytes transfer(u8 code, u8 cylinder, u8 head, u8 sector, u8 last = 18) {
        return command({code, static_cast<u8>(head << 2), cylinder, head, sector, 2, last, 0x1B, 0xFF});
    }
    Bytes in_memory(std::size_t size) const {
        const auto at = memory.bytes.begin() + buffer;
        return {at, at + static_cast<std::ptrdiff_t>(size)};
    }
    Bytes on_disk(u64 sector, u64 count) const {
        const auto at = disk.bytes.begin() + static_cast<std::ptrdiff_t>(sector * 512);
        return {at, at + static_cast<std::ptrdiff_t>(count * 512)};
    }
    static u64 lba(u64 cylinder, u64 head, u64 sector) { return (cylinder * 2 + head) * 18 + sector - 1; }

    Log log;
    test::SmallMemory memory{1 << 20};
    test::RecordedLines lines;
    test::FakeDisk disk{2880}, small{1440};
    std::unique_ptr<Bus> ports;
    std::unique_ptr<I8237> dma;
    std::unique_ptr<Floppy> device;
};

TEST_F(FloppyTest, FormatsFollowFromTheSize) {
    EXPECT_EQ(format_of(1474560)->sectors, 18u);
    EXPECT_EQ(format_of(1296384)->sectors, 18u) << "an image that does not fill its diskette";
    EXPECT_EQ(format_of(1228800)->sectors, 15u);
    EXPECT_EQ(format_of(737280)->rate, 2);
    EXPECT_EQ(format_of(368640)->cylinders, 40u);
    EXPECT_EQ(format_of(2949120)->rate, 3);
    EXPECT_EQ(format_of(2949121), nullptr);
    EXPECT_EQ(Floppy::drive_type(&disk), 4);
    EXPECT_EQ(Floppy::drive_type(nullptr), 0);
}

TEST_F(FloppyTest, SaysWhatItIs) {
    start();
    EXPECT_EQ(command({VERSION}), Bytes{0x90});
    EXPECT_EQ(command({0x1F}), Bytes{0x80}) << "no such command";
    EXPECT_EQ(command({SENSE_INTERRUPT}), Bytes{0x80}) << "nothing to tell";
    EXPECT_EQ(command({SENSE_DRIVE_STATUS, 0}), Bytes{0x38});
    EXPECT_EQ(command({SENSE_DRIVE_STATUS, 2}), Bytes{0x0A}) << "no such drive";
    EXPECT_EQ(command({CONFIGURE, 0, 0x57, 0}), Bytes{});
    EXPECT_EQ(command({u8(LOCK | 0x80)}), Bytes{0x10});
    EXPECT_EQ(command({PERPENDICULAR, 0x84}), Bytes{});
    EXPECT_EQ(command({DUMPREG}), (Bytes{0, 0, 0, 0, 0xAF, 0x02, 0, 0x84, 0x57, 0}));
    out(0x3F4, 0x80); // A reset by the data rate register leaves what is locked.
    for (unsigned i = 0; i < 4; ++i)
        command({SENSE_INTERRUPT});
    EXPECT_EQ(command({DUMPREG})[8], 0x57);
}

TEST_F(FloppyTest, ReadsByDmaAndSaysWhichSectorIsNext) {
    start();
    seek(5);
    set_dma(0x44, buffer, 3 * 512);
    EXPECT_EQ(transfer(0xE6, 5, 0, 4), (Bytes{0, 0, 0, 5, 0, 7, 2}));
    EXPECT_TRUE(in_memory(3 * 512) == on_disk(lba(5, 0, 4), 3));
    EXPECT_FALSE(lines.level(6)) << "reading the result takes the interrupt back";
    // A whole cylinder with both heads.
    set_dma(0x44, buffer, 36 * 512);
    EXPECT_EQ(transfer(0xE6, 5, 0, 1), (Bytes{0, 0, 0, 6, 0, 1, 2}));
    EXPECT_TRUE(in_memory(36 * 512) == on_disk(lba(5, 0, 1), 36));
    // Without a terminal count the end of the track is an error.
    set_dma(0x44, buffer, 36 * 512);
    EXPECT_EQ(transfer(0x46, 5, 1, 17), (Bytes{0x44, 0x80, 0, 6, 1, 1, 2}));
    EXPECT_TRUE(in_memory(2 * 512) == on_disk(lba(5, 1, 17), 2));
}

TEST_F(FloppyTest, WritesByDmaAndFillsUpAPartOfASector) {
    start();
    seek(79);
    for (std::size_t i = 0; i < 1024; ++i)
        memory.bytes[buffer + i] = static_cast<u8>(i * 3);
    set_dma(0x48, buffer, 600);
    EXPECT_EQ(transfer(0x45, 79, 1, 3), (Bytes{4, 0, 0, 79, 1, 5, 2}));
    Bytes wanted = in_memory(600);
    wanted.resize(1024);
    EXPECT_TRUE(on_disk(lba(79, 1, 3), 2) == wanted);
    disk.is_read_only = true;
    EXPECT_EQ(transfer(0x45, 79, 1, 3), (Bytes{0x44, 0x02, 0, 79, 1, 3, 2}));
    EXPECT_EQ(command({SENSE_DRIVE_STATUS, 0}), Bytes{0x68});
}

TEST_F(FloppyTest, ReadsAndWritesThroughTheFifo) {
    start();
    command({SPECIFY, 0xAF, 0x03});
    EXPECT_EQ(transfer(0x46, 0, 0, 18, 18), Bytes{});
    EXPECT_TRUE(lines.level(6));
    Bytes got;
    while ((in(0x3F4) & 0xE0) == 0xE0)
        got.push_back(in(0x3F5));
    EXPECT_TRUE(got == on_disk(17, 1));
    EXPECT_EQ(result(), (Bytes{0x40, 0x80, 0, 1, 0, 1, 2}));
    EXPECT_EQ(transfer(0x45, 0, 0, 18, 18), Bytes{});
    for (unsigned i = 0; i < 512; ++i) {
        EXPECT_EQ(in(0x3F4) & 0xE0, 0xA0);
        out(0x3F5, static_cast<u8>(i ^ 0x55));
    }
    disk.settle();
    EXPECT_EQ(result()[1], 0x80);
    EXPECT_EQ(disk.bytes[17 * 512 + 3], 3 ^ 0x55);
}

TEST_F(FloppyTest, SectorsThatAreNotThereAreNotFound) {
    start();
    set_dma(0x44, buffer, 512);
    EXPECT_EQ(transfer(0x46, 1, 0, 1), (Bytes{0x40, 0x04, 0x10, 1, 0, 1, 2})) << "the heads are elsewhere";
    EXPECT_EQ(transfer(0x46, 0, 0, 19, 19), (Bytes{0x40, 0x04, 0, 0, 0, 19, 2}));
    EXPECT_EQ(command({0x46, 0, 0, 0, 1, 3, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x04, 0, 0, 0, 1, 3})) << "of 1024 bytes";
    out(0x3F7, 2);
    EXPECT_EQ(transfer(0x46, 0, 0, 1), (Bytes{0x40, 0x01, 0, 0, 0, 1, 2})) << "at another rate there is nothing";
    EXPECT_EQ(command({0x4A, 0}), (Bytes{0x40, 0x01, 0, 0, 0, 1, 2}));
    out(0x3F7, 0);
    EXPECT_EQ(command({0x4A, 4}), (Bytes{4, 0, 0, 0, 1, 1, 2}));
    out(0x0A, 0x06); // Channel 2 is masked.
    EXPECT_EQ(transfer(0x46, 0, 0, 1), (Bytes{0x40, 0x10, 0, 0, 0, 1, 2})) << "an overrun";
    disk.failure = BlockStatus::io_error;
    set_dma(0x44, buffer, 512);
    EXPECT_EQ(transfer(0x46, 0, 0, 1), (Bytes{0x40, 0x20, 0x20, 0, 0, 1, 2}));
    // The 720 KB diskette in the second drive is read at its own rate.
    disk.failure = BlockStatus::ok;
    out(0x3F7, 2);
    EXPECT_EQ(command({0x4A, 1})[0], 1);
}

TEST_F(FloppyTest, FormatsATrack) {
    start();
    seek(2);
    for (unsigned i = 0; i < 18; ++i) {
        const Bytes id{2, 1, static_cast<u8>(i + 1), 2};
        std::copy(id.begin(), id.end(), memory.bytes.begin() + buffer + 4 * i);
    }
    set_dma(0x48, buffer, 18 * 4);
    for (const u8 byte : {0x4D, 0x04, 2, 18, 0x6C, 0xF6})
        out(0x3F5, byte);
    disk.settle();
    EXPECT_EQ(result()[0], 4);
    EXPECT_EQ(on_disk(lba(2, 1, 1), 18), Bytes(18 * 512, 0xF6));
    EXPECT_NE(on_disk(lba(2, 1, 1) + 18, 1), Bytes(512, 0xF6));
}

TEST_F(FloppyTest, TheDiskChangeLineIsHeldUntilAStep) {
    start();
    EXPECT_EQ(in(0x3F7) & 0x80, 0x80) << "since power-on";
    seek(1);
    EXPECT_EQ(in(0x3F7) & 0x80, 0);
    disk.change_medium(false);
    EXPECT_EQ(in(0x3F7) & 0x80, 0x80);
    seek(0);
    EXPECT_EQ(in(0x3F7) & 0x80, 0x80) << "there is no diskette";
    disk.change_medium(true);
    EXPECT_EQ(in(0x3F7) & 0x80, 0x80);
    EXPECT_EQ(command({RECALIBRATE, 0}), Bytes{});
    EXPECT_EQ(command({SENSE_INTERRUPT}), (Bytes{0x20, 0}));
    EXPECT_EQ(in(0x3F7) & 0x80, 0);
    EXPECT_EQ(command({RECALIBRATE, 2}), Bytes{});
    EXPECT_EQ(command({SENSE_INTERRUPT}), (Bytes{0x72, 0})) << "no such drive: track 0 never comes";
}

TEST_F(FloppyTest, AResetForgetsWhatIsUnderWay) {
    start();
    set_dma(0x44, buffer, 512);
    for (const u8 byte : {0x46, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF})
        out(0x3F5, byte);
    EXPECT_EQ(in(0x3F4), 0x10);
    out(0x3F2, 0x18);
    EXPECT_EQ(in(0x3F4), 0);
    out(0x3F2, 0x1C);
    disk.settle();
    EXPECT_EQ(in(0x3F4), 0x80);
    EXPECT_EQ(in_memory(4), Bytes(4));
}

TEST_F(FloppyTest, GoesOnAfterBeingSaved) {
    start();
    command({SPECIFY, 0xAF, 0x03});
    seek(3);
    EXPECT_EQ(transfer(0x46, 3, 0, 18), Bytes{});
    for (unsigned i = 0; i < 100; ++i)
        in(0x3F5);
    const Bytes saved = test::save(*device);
    make();
    ASSERT_TRUE(test::load(*device, saved).ok());
    EXPECT_TRUE(lines.level(6));
    EXPECT_EQ(in(0x3F5), disk.bytes[lba(3, 0, 18) * 512 + 100]);
    Bytes damaged = saved;
    damaged[damaged.size() / 2] ^= 1;
    EXPECT_FALSE(test::load(*device, damaged).ok());
}

} // namespace
} // namespace calque::devices
