// The CD drive, against MMC-5 and the PACKET feature set of ATA/ATAPI-7.
#include "tests/devices/ide_fixture.h"

namespace calque::devices {
namespace {

using Bytes = std::vector<u8>;

class IdeCdTest : public test::IdeFixture {
  protected:
    IdeCdTest() { EXPECT_EQ(sense(), (Bytes{6, 0x29, 0})) << "it was reset"; }
    Bytes blocks(u64 first, u64 count) const {
        const auto at = cd.bytes.begin() + static_cast<std::ptrdiff_t>(first * 2048);
        return {at, at + static_cast<std::ptrdiff_t>(count * 2048)};
    }
    static Bytes read_10(u32 first, u16 count) {
        return {0x28,
                0,
                static_cast<u8>(first >> 24),
                static_cast<u8>(first >> 16),
                static_cast<u8>(first >> 8),
                static_cast<u8>(first),
                0,
                static_cast<u8>(count >> 8),
                static_cast<u8>(count)};
    }
};

TEST_F(IdeCdTest, SaysWhatItIs) {
    out(0x176, 0xA0);
    out(0x177, 0xEC);
    EXPECT_EQ(status(0x170), 0x51) << "IDENTIFY DEVICE is for disks";
    EXPECT_EQ(in(0x174), 0x14);
    EXPECT_EQ(in(0x175), 0xEB);
    out(0x177, 0xA1);
    const Bytes id = read_data(512, 0x170);
    EXPECT_EQ(id[0] | id[1] << 8, 0x85C0);
    packet({0x12, 0, 0, 0, 36});
    const Bytes inquiry = answer();
    ASSERT_EQ(inquiry.size(), 36u);
    EXPECT_EQ(inquiry[0], 0x05);
    EXPECT_EQ(inquiry[1], 0x80);
}

TEST_F(IdeCdTest, ReadsBlocksInPiecesOfTheHostsSize) {
    packet(read_10(10, 3), 1000);
    EXPECT_TRUE(answer() == blocks(10, 3));
    packet(read_10(0, 70), 0xFFFE); // More than the buffer holds.
    EXPECT_TRUE(answer() == blocks(0, 70));
    packet({0xA8, 0, 0, 0, 0, 7, 0, 0, 0, 1});
    EXPECT_TRUE(answer() == blocks(7, 1));
    packet({0xBE, 0, 0, 0, 0, 9, 0, 0, 1, 0x10});
    EXPECT_TRUE(answer() == blocks(9, 1));
    EXPECT_GT(lines.edge_count(15), 4u);
}

TEST_F(IdeCdTest, ReadsByDma) {
    describe({{0x10000, 0}, {0x20000, 0}, {0x30000, 0x4000}}, 1);
    packet(read_10(100, 72), 0, true);
    start_master(true, 1);
    cd.settle();
    EXPECT_EQ(status(0x170), 0x50);
    EXPECT_EQ(in(0x172), 0x03);
    EXPECT_EQ(master_status(1), 0x04);
    const auto at = memory.bytes.begin() + 0x10000;
    EXPECT_TRUE(Bytes(at, at + 72 * 2048) == blocks(100, 72));
}

TEST_F(IdeCdTest, SaysHowMuchThereIs) {
    packet({0x25});
    EXPECT_EQ(answer(), (Bytes{0, 0, 0x03, 0xFF, 0, 0, 0x08, 0}));
    packet({0x43, 0, 0, 0, 0, 0, 0, 0, 100});
    EXPECT_EQ(answer(), (Bytes{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0, 0, 0, 4, 0}));
    packet({0x43, 2, 0, 0, 0, 0, 0xAA, 0, 100});
    EXPECT_EQ(answer(), (Bytes{0, 10, 1, 1, 0, 0x14, 0xAA, 0, 0, 0, 15, 49})) << "in minutes, seconds, frames";
    packet({0x43, 0, 0, 0, 0, 0, 0, 0, 4}); // The allocation length cuts.
    EXPECT_EQ(answer(), (Bytes{0, 18, 1, 1}));
    packet({0x46, 0, 0, 0, 0, 0, 0, 0, 8});
    EXPECT_EQ(answer()[7], 0x08) << "the profile is CD-ROM";
    packet({0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 200});
    const Bytes page = answer();
    EXPECT_EQ(page.size(), 28u);
    EXPECT_EQ(page[8], 0x2A);
}

TEST_F(IdeCdTest, RefusesWhatItDoesNotKnow) {
    packet({0x04}); // FORMAT UNIT.
    EXPECT_EQ(status(0x170), 0x51);
    EXPECT_EQ(in(0x171), 0x54);
    EXPECT_EQ(sense(), (Bytes{5, 0x20, 0}));
    EXPECT_EQ(sense(), (Bytes{0, 0, 0}));
    packet(read_10(1023, 2));
    EXPECT_EQ(status(0x170), 0x51);
    EXPECT_EQ(sense(), (Bytes{5, 0x21, 0}));
    packet({0xA8, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF});
    EXPECT_EQ(sense(), (Bytes{5, 0x21, 0}));
    cd.failure = BlockStatus::io_error;
    packet(read_10(0, 1));
    EXPECT_EQ(status(0x170), 0x51);
    EXPECT_EQ(sense(), (Bytes{3, 0x11, 0}));
}

TEST_F(IdeCdTest, TellsOfAnotherMedium) {
    packet({0x00});
    EXPECT_EQ(status(0x170), 0x50);
    cd.change_medium(false);
    packet({0x00});
    EXPECT_EQ(sense(), (Bytes{2, 0x3A, 1}));
    packet({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8});
    EXPECT_EQ(answer(), (Bytes{0, 6, 4, 0x10, 3, 0, 0, 0})) << "removal";
    cd.change_medium(true);
    packet({0x00});
    EXPECT_EQ(sense(), (Bytes{6, 0x28, 0}));
    packet({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8});
    EXPECT_EQ(answer(), (Bytes{0, 6, 4, 0x10, 2, 2, 0, 0})) << "new medium";
    packet({0x00});
    EXPECT_EQ(status(0x170), 0x50);
}

TEST_F(IdeCdTest, LocksAndEjects) {
    packet({0x1E, 0, 0, 0, 1});
    EXPECT_TRUE(cd.locked);
    packet({0x1B, 0, 0, 0, 2});
    EXPECT_EQ(sense(), (Bytes{5, 0x53, 2}));
    packet({0x1E, 0, 0, 0, 0});
    EXPECT_FALSE(cd.locked);
    packet({0x1B, 0, 0, 0, 2});
    EXPECT_EQ(status(0x170), 0x50);
    packet(read_10(0, 1));
    EXPECT_EQ(sense(), (Bytes{2, 0x3A, 2})) << "the tray is open";
    packet({0x1B, 0, 0, 0, 3});
    EXPECT_EQ(sense(), (Bytes{6, 0x28, 0}));
    packet(read_10(0, 1));
    EXPECT_TRUE(answer() == blocks(0, 1));
}

TEST_F(IdeCdTest, TakesParameters) {
    packet({0x55, 0x10, 0, 0, 0, 0, 0, 0, 16});
    EXPECT_EQ(status(0x170), 0x58);
    EXPECT_EQ(in(0x172), 0x00);
    write_data(Bytes(16), 0x170);
    EXPECT_EQ(status(0x170), 0x50);
}

TEST_F(IdeCdTest, SavesInTheMiddleOfARead) {
    packet(read_10(3, 2), 512);
    EXPECT_EQ(status(0x170), 0x58);
    Bytes all = read_data(600, 0x170);
    const auto saved = test::save(ide);
    ide.reset();
    const auto loaded = test::load(ide, saved);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const Bytes rest = read_data(4096 - 600, 0x170);
    all.insert(all.end(), rest.begin(), rest.end());
    EXPECT_TRUE(all == blocks(3, 2));
    EXPECT_EQ(status(0x170), 0x50);
}

} // namespace
} // namespace calque::devices
