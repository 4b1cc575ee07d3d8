#include "devices/bus/bus.h"
#include "devices/pflash/pflash.h"
#include "tests/devices/fake_disk.h"
#include "tests/devices/harness.h"

#include <gtest/gtest.h>

namespace calque::devices {
namespace {

using namespace test;

class PflashTest : public testing::Test {
  protected:
    static constexpr u64 base = 0xFFC0'0000, size = 3 * Pflash::stretch;

    PflashTest() {
        disk.bytes.assign(size, 0xFF);
        make();
    }
    void make() {
        flash.reset();
        bus = std::make_unique<Bus>(Bus::Kind::memory, log);
        flash = std::make_unique<Pflash>(
            log, disk.bytes, &disk, [this] { ++map_changes; }, "pflash0");
        bus->map(base, flash->size(), *flash, "pflash0");
    }
    u8 in(u64 at) { return static_cast<u8>(bus->read(base + at, 1)); }
    void out(u64 at, u8 value) { bus->write(base + at, value, 1); }
    void program(u64 at, u8 value) {
        out(at, 0x40);
        out(at, value);
    }

    Log log;
    FakeDisk disk{size / BlockBackend::sector};
    std::unique_ptr<Bus> bus;
    std::unique_ptr<Pflash> flash;
    unsigned map_changes = 0;
};

TEST_F(PflashTest, AnswersAsFirmwareProbesForIt) {
    // OVMF: an array byte, which changes to a status of zero and back.
    EXPECT_EQ(in(0x10), 0xFF);
    out(0x10, 0x50);
    EXPECT_EQ(in(0x10), 0xFF);
    out(0x10, 0x70);
    EXPECT_EQ(in(0x10), 0x00);
    out(0x10, 0xFF);
    EXPECT_EQ(in(0x10), 0xFF);
    out(0, 0x90);
    EXPECT_EQ(in(0), 0x89);
    out(0, 0x98);
    EXPECT_EQ(bus->read(base + 0x10, 4), 0x01'59'52'51u); // QRY, Intel's command set.
    EXPECT_EQ(in(0x2D) + 1, size / Pflash::block);
    EXPECT_EQ((in(0x2F) | in(0x30) << 8) * 256u, Pflash::block);
}

TEST_F(PflashTest, ProgrammingClearsBitsAndErasingSetsThem) {
    program(0x1234, 0x5A);
    EXPECT_EQ(in(0x1234), 0x80); // Its status: ready, without errors.
    program(0x1234, 0xF0);
    out(0x1FFF, 0x10); // The other code of the same command.
    out(0x1FFF, 0x00);
    out(0, 0xFF);
    EXPECT_EQ(in(0x1234), 0x50);
    EXPECT_EQ(in(0x1FFF), 0x00);
    program(0x2000, 0);
    out(0x1800, 0x20);
    out(0x1800, 0xD0);
    out(0, 0xFF);
    EXPECT_EQ(in(0x1234), 0xFF);
    EXPECT_EQ(in(0x1FFF), 0xFF);
    EXPECT_EQ(in(0x2000), 0x00);
}

TEST_F(PflashTest, AnEraseThatIsNotConfirmedIsAnErrorAndErasesNothing) {
    program(0, 0);
    out(0, 0x20);
    out(0, 0x70);
    EXPECT_EQ(in(0) & 0x30, 0x30);
    out(0, 0x50);
    out(0, 0xFF);
    EXPECT_EQ(in(0), 0);
}

TEST_F(PflashTest, TheBufferIsProgrammedAtOnce) {
    out(0x100, 0xE8);
    EXPECT_EQ(in(0x100), 0x80);
    out(0x100, 3); // Four bytes.
    for (u8 i = 0; i < 4; ++i)
        out(0x102 + i, static_cast<u8>(0x11 * i));
    out(0x100, 0xD0);
    EXPECT_EQ(in(0x100), 0x80);
    out(0, 0xFF);
    EXPECT_EQ(bus->read(base + 0x102, 4), 0x33221100u);
    // Without the confirmation nothing is.
    out(0x200, 0xE8);
    out(0x200, 0);
    out(0x200, 0x55);
    out(0x200, 0xFF);
    EXPECT_EQ(in(0x200) & 0x30, 0x30);
    out(0, 0xFF);
    EXPECT_EQ(in(0x200), 0xFF);
}

TEST_F(PflashTest, WhatIsWrittenGetsToTheFile) {
    program(0x5001, 0x12);
    program(0x5002, 0x34);
    program(0x9000, 0x56);
    disk.settle();
    EXPECT_EQ(disk.bytes[0x5001], 0x12);
    EXPECT_EQ(disk.bytes[0x5002], 0x34);
    EXPECT_EQ(disk.bytes[0x9000], 0x56);
    EXPECT_EQ(disk.bytes[0x5003], 0xFF);
}

TEST_F(PflashTest, AWriteProtectedChipIsARom) {
    disk.is_read_only = true;
    disk.bytes[7] = 0x77;
    make();
    ASSERT_EQ(flash->direct_memory().size(), 1u);
    EXPECT_EQ(flash->direct_memory()[0].length, size);
    out(7, 0x70);
    EXPECT_EQ(in(7), 0x77);
    program(7, 0);
    EXPECT_EQ(in(7), 0x77);
    EXPECT_EQ(flash->direct_memory()[0].data[7], 0x77);
}

TEST_F(PflashTest, WhatIsReadALotIsReachedDirectlyUntilItGetsACommand) {
    EXPECT_TRUE(flash->direct_memory().empty());
    for (u32 i = 0; i < Pflash::hot; ++i)
        in(Pflash::stretch + i % 64);
    ASSERT_EQ(flash->direct_memory().size(), 1u);
    EXPECT_EQ(flash->direct_memory()[0].offset, Pflash::stretch);
    EXPECT_FALSE(flash->direct_memory()[0].writable);
    EXPECT_EQ(map_changes, 1u);
    out(0, 0x70); // Of another stretch.
    EXPECT_EQ(map_changes, 1u);
    out(Pflash::stretch, 0x70);
    EXPECT_TRUE(flash->direct_memory().empty());
    EXPECT_EQ(map_changes, 2u);
    out(0, 0xFF);
    for (u32 i = 0; i < Pflash::hot; ++i)
        in(Pflash::stretch);
    EXPECT_TRUE(flash->direct_memory().empty());
}

TEST_F(PflashTest, ASaveInTheMiddleOfASequenceGoesOn) {
    program(3, 0x42);
    out(0x100, 0xE8);
    out(0x100, 1);
    out(0x100, 0xAB);
    const auto saved = save(*flash);
    disk.waiting.clear();
    disk.bytes.assign(size, 0xFF);
    make();
    ASSERT_TRUE(load(*flash, saved).ok());
    out(0x101, 0xCD);
    out(0x100, 0xD0);
    out(0, 0xFF);
    EXPECT_EQ(bus->read(base + 0x100, 2), 0xCDABu);
    EXPECT_EQ(in(3), 0x42);
    disk.settle();
    EXPECT_EQ(disk.bytes[3], 0x42) << "the file is brought to what was saved";
}

TEST_F(PflashTest, ResetEndsASequenceAndKeepsTheContents) {
    program(3, 0x42);
    out(3, 0x20);
    flash->reset();
    EXPECT_EQ(in(3), 0x42);
    out(3, 0xD0); // Confirms nothing.
    EXPECT_EQ(in(3), 0x42);
}

} // namespace
} // namespace calque::devices
