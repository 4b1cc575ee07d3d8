// The IDE function and a disk on it, against ATA/ATAPI-7 and the PIIX3 datasheet.
#include "tests/devices/ide_fixture.h"

namespace calque::devices {
namespace {

using Bytes = std::vector<u8>;

class IdeDiskTest : public test::IdeFixture {
  protected:
    Bytes sectors(u64 first, u64 count) const {
        const auto at = disk.bytes.begin() + static_cast<std::ptrdiff_t>(first * 512);
        return {at, at + static_cast<std::ptrdiff_t>(count * 512)};
    }
    Bytes in_memory(u64 at, std::size_t size) const {
        const auto from = memory.bytes.begin() + static_cast<std::ptrdiff_t>(at);
        return {from, from + static_cast<std::ptrdiff_t>(size)};
    }
    static Bytes fresh(std::size_t size) {
        Bytes bytes(size);
        for (std::size_t i = 0; i < size; ++i)
            bytes[i] = static_cast<u8>(i * 13 + i / 512);
        return bytes;
    }
    u16 word(const Bytes& bytes, unsigned n) { return static_cast<u16>(bytes[2 * n] | bytes[2 * n + 1] << 8); }
};

TEST_F(IdeDiskTest, PortsAreDecodedWhenTheirChannelIs) {
    EXPECT_EQ(status(), 0x50);
    pci.config_write(0, 9, 0x40, 0, 2);
    EXPECT_EQ(status(), 0xFF);
    EXPECT_EQ(in(0x3F6), 0xFF);
    EXPECT_EQ(pci.config_read(0, 9, 0x00, 4), 0x70108086u);
    EXPECT_EQ(pci.config_read(0, 9, 0x09, 4) & 0xFFFFFF, 0x010180u);
    enable();
    pci.config_write(0, 9, 0x04, 0, 2);
    EXPECT_EQ(status(), 0xFF);
}

TEST_F(IdeDiskTest, AnAbsentDriveAndAnEmptyCableAreSeen) {
    out(0x1F6, 0xB0);
    EXPECT_EQ(status(), 0x00);
    out(0x1F2, 0x55);
    EXPECT_NE(in(0x1F2), 0x55);
    Piix3Ide empty(log, memory_bus, memory, IrqLine(), IrqLine(), {});
    PciBus other(log, memory_bus, ports);
    ASSERT_TRUE(other.attach(empty.function(), 1, 1).ok());
    other.config_write(0, 9, 0x40, 0x8000, 2);
    other.config_write(0, 9, 0x04, 1, 2);
    EXPECT_EQ(memory_bus.read(0x1F7, 1), 0x7Fu);
}

TEST_F(IdeDiskTest, IdentifySaysHowLargeTheDiskIs) {
    command(0xEC);
    EXPECT_EQ(status(), 0x58);
    const Bytes id = read_data(512);
    EXPECT_EQ(status(), 0x50);
    EXPECT_EQ(word(id, 60) | word(id, 61) << 16, 70'000);
    EXPECT_EQ(word(id, 100) | word(id, 101) << 16, 70'000);
    EXPECT_EQ(word(id, 1), 70'000 / (16 * 63));
    EXPECT_EQ(std::string(id.begin() + 20, id.begin() + 28), "ESIRLA10");
    EXPECT_TRUE(word(id, 49) & 0x0300) << "LBA and DMA";
    EXPECT_TRUE(word(id, 83) & 0x0400) << "48-bit addresses";
    u8 sum = 0;
    for (const u8 byte : id)
        sum = static_cast<u8>(sum + byte);
    EXPECT_EQ(sum, 0);
}

TEST_F(IdeDiskTest, ReadsSectorsWithAnInterruptForEach) {
    command(0x20, 10, 3);
    EXPECT_EQ(in(0x3F6) & 0x88, 0x80);
    EXPECT_EQ(lines.edge_count(14), 0u);
    disk.settle();
    Bytes all;
    for (unsigned i = 0; i < 3; ++i) {
        EXPECT_EQ(lines.edge_count(14), i + 1);
        EXPECT_TRUE(lines.level(14));
        EXPECT_EQ(in(0x3F6), 0x58) << "the alternate status leaves the interrupt";
        EXPECT_TRUE(lines.level(14));
        EXPECT_EQ(status(), 0x58);
        EXPECT_FALSE(lines.level(14));
        const Bytes part = read_data(512, 0x1F0, i == 1 ? 4 : 2);
        all.insert(all.end(), part.begin(), part.end());
    }
    EXPECT_EQ(status(), 0x50);
    EXPECT_EQ(lines.edge_count(14), 3u);
    EXPECT_TRUE(all == sectors(10, 3));
}

TEST_F(IdeDiskTest, ReadsMoreThanItsBufferHolds) {
    command_ext(0x24, 1000, 600);
    Bytes all;
    for (unsigned i = 0; i < 600; ++i) {
        disk.settle();
        ASSERT_EQ(status(), 0x58) << i;
        const Bytes part = read_data(512, 0x1F0, 4);
        all.insert(all.end(), part.begin(), part.end());
    }
    EXPECT_EQ(status(), 0x50);
    EXPECT_TRUE(all == sectors(1000, 600));
}

TEST_F(IdeDiskTest, MultipleMovesSeveralSectorsPerInterrupt) {
    command(0xC6, 0, 8);
    EXPECT_EQ(status(), 0x50);
    command(0xC4, 5, 12);
    disk.settle();
    EXPECT_EQ(status(), 0x58);
    Bytes all = read_data(8 * 512);
    EXPECT_EQ(status(), 0x58);
    const Bytes rest = read_data(4 * 512);
    all.insert(all.end(), rest.begin(), rest.end());
    EXPECT_TRUE(all == sectors(5, 12));
    EXPECT_EQ(status(), 0x50);
    command(0xC6, 0, 7);
    EXPECT_EQ(status(), 0x51) << "not a power of two";
    EXPECT_EQ(in(0x1F1), 0x04);
    command(0xC6, 0, 0);
    command(0xC4, 5, 1);
    EXPECT_EQ(status(), 0x51) << "multiple is off";
}

TEST_F(IdeDiskTest, WritesSectorsAndInterruptsWhenTheyAreWritten) {
    const Bytes data = fresh(300 * 512);
    command_ext(0x34, 2000, 300);
    EXPECT_EQ(lines.edge_count(14), 0u) << "the first block is asked for without an interrupt";
    for (unsigned i = 0; i < 300; ++i) {
        ASSERT_EQ(status(), 0x58) << i;
        write_data(std::span(data).subspan(i * 512, 512));
        if (i + 1 == 256 || i + 1 == 300) {
            EXPECT_EQ(in(0x3F6) & 0x88, 0x80);
            disk.settle();
        }
    }
    EXPECT_EQ(status(), 0x50);
    EXPECT_TRUE(sectors(2000, 300) == data);
    EXPECT_EQ(disk.durable_writes, 0u);
    command_ext(0xCE, 7, 1);
    write_data(std::span(data).first(512));
    disk.settle();
    EXPECT_EQ(disk.durable_writes, 1u) << "FUA";
}

TEST_F(IdeDiskTest, CylindersHeadsAndSectors) {
    out(0x1F6, 0xA3); // Head 3.
    out(0x1F2, 1);
    out(0x1F3, 5); // Sectors count from 1.
    out(0x1F4, 2);
    out(0x1F5, 0);
    out(0x1F7, 0x20);
    disk.settle();
    EXPECT_EQ(status(), 0x58);
    EXPECT_TRUE(read_data(512) == sectors((2 * 16 + 3) * 63 + 4, 1));
    out(0x1F3, 0);
    out(0x1F7, 0x20);
    EXPECT_EQ(status(), 0x51) << "there is no sector 0";
    EXPECT_EQ(in(0x1F1), 0x10);
    command(0x91, 3u << 24, 20); // 4 heads of 20 sectors.
    EXPECT_EQ(status(), 0x50);
    out(0x1F6, 0xA1);
    out(0x1F2, 1);
    out(0x1F3, 1);
    out(0x1F4, 1);
    out(0x1F5, 0);
    out(0x1F7, 0x20);
    disk.settle();
    EXPECT_TRUE(read_data(512) == sectors((1 * 4 + 1) * 20, 1));
}

TEST_F(IdeDiskTest, SectorsBeyondTheEndAreNotFound) {
    command(0x20, 69'999, 2);
    EXPECT_EQ(status(), 0x51);
    EXPECT_EQ(in(0x1F1), 0x10);
    EXPECT_TRUE(disk.waiting.empty());
    command_ext(0x25, 0xFFFF'FFFF'FFFF, 1);
    EXPECT_EQ(status(), 0x51);
    command(0x40, 69'999, 1);
    EXPECT_EQ(status(), 0x50);
    command(0x40, 70'000, 1);
    EXPECT_EQ(status(), 0x51);
}

TEST_F(IdeDiskTest, DmaReadScattersOverTheTable) {
    describe({{0x10000, 1000}, {0x20002, 24}, {0x30000, 0}}); // 0 is 64 KiB.
    command(0xC8, 300, 130);
    EXPECT_EQ(in(0x3F6) & 0x88, 0x80);
    start_master(true);
    EXPECT_EQ(master_status(), 0x01);
    disk.settle();
    EXPECT_EQ(lines.edge_count(14), 1u);
    EXPECT_EQ(master_status(), 0x04) << "the table is used up: interrupt, not active";
    EXPECT_EQ(status(), 0x50);
    const Bytes expected = sectors(300, 130);
    Bytes found = in_memory(0x10000, 1000), more = in_memory(0x20002, 24), last = in_memory(0x30000, 65536);
    found.insert(found.end(), more.begin(), more.end());
    found.insert(found.end(), last.begin(), last.end());
    EXPECT_TRUE(found == Bytes(expected.begin(), expected.end()));
    out(master_base + 2, 0x04);
    EXPECT_EQ(master_status(), 0x00);
}

TEST_F(IdeDiskTest, DmaStartedBeforeTheCommandAndLongerThanTheBuffer) {
    describe({{0x10000, 0}, {0x20000, 0}, {0x30000, 0}, {0x40000, 0}, {0x50000, 0}});
    start_master(true);
    command_ext(0x25, 4000, 520);
    disk.settle();
    EXPECT_EQ(status(), 0x50);
    EXPECT_EQ(master_status(), 0x05) << "more described than read: still active, with interrupt";
    EXPECT_TRUE(in_memory(0x10000, 520 * 512) == sectors(4000, 520));
    out(master_base, 0);
    EXPECT_EQ(master_status(), 0x04);
}

TEST_F(IdeDiskTest, DmaWriteGathersFromTheTable) {
    const Bytes data = fresh(300 * 512);
    std::copy(data.begin(), data.end(), memory.bytes.begin() + 0x10000);
    describe({{0x10000, 0}, {0x20000, 0}, {0x30000, 22528}});
    command_ext(0x35, 5000, 300);
    start_master(false);
    disk.settle();
    EXPECT_EQ(status(), 0x50);
    EXPECT_EQ(master_status(), 0x04);
    EXPECT_TRUE(sectors(5000, 300) == data);
}

TEST_F(IdeDiskTest, ATableThatEndsEarlyLeavesTheDriveWaiting) {
    describe({{0x10000, 512}});
    command(0xC8, 0, 2);
    start_master(true);
    disk.settle();
    EXPECT_EQ(master_status(), 0x00) << "neither active nor an interrupt";
    EXPECT_EQ(in(0x3F6) & 0x88, 0x80);
    out(0x3F6, 0x04);
    out(0x3F6, 0x00);
    EXPECT_EQ(status(), 0x50) << "until it is reset";
}

TEST_F(IdeDiskTest, DmaToWhatIsNoMemoryIsAnErrorOfTheBusMaster) {
    describe({{0xF000'0000, 512}});
    command(0xC8, 0, 1);
    start_master(true);
    disk.settle();
    EXPECT_EQ(master_status() & 0x03, 0x02);
    EXPECT_EQ(status(), 0x51);
    ports.write(master_base + 4, 0xFFFF'FFF0, 4); // The table itself.
    out(master_base, 0);
    command(0xCA, 0, 1);
    start_master(false);
    EXPECT_EQ(master_status() & 0x03, 0x02);
    EXPECT_EQ(status(), 0x51);
    EXPECT_TRUE(disk.waiting.empty()) << "nothing was written";
}

TEST_F(IdeDiskTest, WithoutBusMasteringNothingMoves) {
    pci.config_write(0, 9, 0x04, 1, 2);
    describe({{0x10000, 512}});
    command(0xC8, 0, 1);
    start_master(true);
    EXPECT_EQ(disk.settle(), 0u);
    pci.config_write(0, 9, 0x04, 5, 2);
    EXPECT_EQ(disk.settle(), 1u);
    EXPECT_EQ(status(), 0x50);
}

TEST_F(IdeDiskTest, AStoppedTransferDoesNotTouchMemoryAnyMore) {
    describe({{0x10000, 512}});
    command(0xC8, 0, 1);
    start_master(true);
    ASSERT_EQ(disk.waiting.size(), 1u);
    out(master_base, 0);
    disk.settle();
    EXPECT_TRUE(in_memory(0x10000, 512) == Bytes(512));
    EXPECT_EQ(lines.edge_count(14), 0u);
}

TEST_F(IdeDiskTest, AResetForgetsWhatIsUnderWay) {
    command(0x20, 0, 1);
    out(0x3F6, 0x04);
    EXPECT_EQ(in(0x1F7), 0x80);
    out(0x3F6, 0x00);
    disk.settle();
    EXPECT_EQ(status(), 0x50);
    EXPECT_EQ(in(0x1F1), 0x01);
    EXPECT_EQ(in(0x1F2), 0x01);
    EXPECT_EQ(in(0x1F3), 0x01);
    EXPECT_EQ(in(0x1F4) | in(0x1F5), 0x00);
    EXPECT_EQ(lines.edge_count(14), 0u);
    command(0x20, 3, 1);
    disk.settle();
    EXPECT_TRUE(read_data(512) == sectors(3, 1));
}

TEST_F(IdeDiskTest, DiagnosticsGiveEachDriveItsSignature) {
    command(0x90);
    EXPECT_EQ(status(), 0x50);
    EXPECT_EQ(in(0x1F1), 0x01);
    out(0x177, 0x90);
    EXPECT_EQ(in(0x174), 0x14);
    EXPECT_EQ(in(0x175), 0xEB);
    EXPECT_EQ(status(0x170), 0x00);
}

TEST_F(IdeDiskTest, InterruptsAreHeldBackByNien) {
    out(0x3F6, 0x02);
    command(0xE7);
    disk.settle();
    EXPECT_EQ(disk.flushes, 1u);
    EXPECT_FALSE(lines.level(14));
    out(0x3F6, 0x00);
    EXPECT_TRUE(lines.level(14)) << "it was pending";
    EXPECT_EQ(status(), 0x50);
    EXPECT_FALSE(lines.level(14));
}

TEST_F(IdeDiskTest, ErrorsOfTheHostBecomeErrorsOfTheDrive) {
    disk.failure = BlockStatus::io_error;
    command(0x20, 123, 1);
    disk.settle();
    EXPECT_EQ(status(), 0x51);
    EXPECT_EQ(in(0x1F1), 0x40) << "uncorrectable";
    EXPECT_EQ(in(0x1F3), 123);
    command(0x30, 5, 1);
    write_data(Bytes(512));
    disk.settle();
    EXPECT_EQ(status(), 0x51);
    EXPECT_EQ(in(0x1F1), 0x04);
    command(0xE7);
    disk.settle();
    EXPECT_EQ(status(), 0x51);
    disk.failure = BlockStatus::ok;
    disk.is_read_only = true;
    command(0x30, 5, 1);
    EXPECT_EQ(status(), 0x51) << "write-protected";
}

TEST_F(IdeDiskTest, FeaturesPowerAndSmart) {
    command(0xEF, 0, 0, 0x82); // Write cache off.
    disk.settle();
    EXPECT_EQ(status(), 0x50);
    EXPECT_FALSE(disk.cache);
    EXPECT_EQ(disk.flushes, 1u);
    command(0xEC);
    EXPECT_FALSE(word(read_data(512), 85) & 0x20);
    command(0xEF, 0, 0, 0x02);
    EXPECT_TRUE(disk.cache);
    command(0xEF, 0, 0x22, 0x03); // Multiword DMA 2.
    EXPECT_EQ(status(), 0x50);
    command(0xEF, 0, 0x7F, 0x03);
    EXPECT_EQ(status(), 0x51);
    command(0xE5);
    EXPECT_EQ(in(0x1F2), 0xFF) << "active";
    command(0xB0, 0xC24F00, 0, 0xDA);
    EXPECT_EQ(status(), 0x50);
    EXPECT_EQ(in(0x1F4), 0x4F) << "healthy";
    command(0xB0, 0x123400, 0, 0xDA);
    EXPECT_EQ(status(), 0x51) << "without the key";
    command(0xB0, 0xC24F00, 0, 0xD0);
    u8 sum = 0;
    for (const u8 byte : read_data(512))
        sum = static_cast<u8>(sum + byte);
    EXPECT_EQ(sum, 0);
    command(0xF5); // SECURITY FREEZE LOCK: not a feature of this drive.
    EXPECT_EQ(status(), 0x51);
    EXPECT_EQ(in(0x1F1), 0x04);
}

TEST_F(IdeDiskTest, TrimForgetsRanges) {
    Bytes entries(512);
    const u64 ranges[] = {u64{2} << 48 | 100, u64{1} << 48 | 200, u64{0} << 48 | 300};
    for (unsigned i = 0; i < 3; ++i)
        for (unsigned b = 0; b < 8; ++b)
            entries[i * 8 + b] = static_cast<u8>(ranges[i] >> (8 * b));
    std::copy(entries.begin(), entries.end(), memory.bytes.begin() + 0x10000);
    describe({{0x10000, 512}});
    out(0x1F1, 1);
    command_ext(0x06, 0, 1);
    start_master(false);
    disk.settle();
    EXPECT_EQ(status(), 0x50);
    EXPECT_TRUE(sectors(100, 2) == Bytes(1024));
    EXPECT_TRUE(sectors(200, 1) == Bytes(512));
    EXPECT_FALSE(sectors(300, 1) == Bytes(512));
    EXPECT_FALSE(sectors(102, 1) == Bytes(512));
}

// In the middle of a block: the rest comes from the loaded one.
TEST_F(IdeDiskTest, SavesInTheMiddleOfATransfer) {
    command(0x20, 40, 2);
    disk.settle();
    Bytes all = read_data(700);
    const auto saved = test::save(ide);
    ide.reset();
    const auto loaded = test::load(ide, saved);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const Bytes rest = read_data(324);
    all.insert(all.end(), rest.begin(), rest.end());
    EXPECT_TRUE(all == sectors(40, 2));
    EXPECT_EQ(status(), 0x50);
    EXPECT_TRUE(test::save(ide) == test::save(ide));
}

} // namespace
} // namespace calque::devices
