#include "devices/bus/byte_region.h"
#include "devices/bus/window.h"
#include "tests/devices/harness.h"

namespace calque::devices {
namespace {

// Answers with its own tag in the high nibble and the offset in the low one, and keeps what was written.
class Tagged final : public IoRegion {
  public:
    explicit Tagged(u8 tag) : tag_(tag) {}
    u64 read(u64 offset, unsigned size) override {
        last = {offset, 0, size};
        u64 value = 0;
        for (unsigned i = 0; i < size; ++i)
            value |= u64{static_cast<u8>(tag_ << 4 | ((offset + i) & 15))} << (8 * i);
        return value;
    }
    void write(u64 offset, u64 value, unsigned size) override { last = {offset, value, size}; }
    struct Access {
        u64 offset = ~u64{0}, value = 0;
        unsigned size = 0;
    } last;

  private:
    u8 tag_;
};

class BusTest : public testing::Test {
  protected:
    Log log;
    Bus bus{Bus::Kind::ports, log};
    Tagged a{0xA}, b{0xB};
};

TEST_F(BusTest, UnclaimedReadsAllOnesAndWritesGoNowhere) {
    EXPECT_EQ(bus.read(0x100, 1), 0xFFu);
    EXPECT_EQ(bus.read(0x100, 2), 0xFFFFu);
    EXPECT_EQ(bus.read(0x100, 4), 0xFFFF'FFFFu);
    EXPECT_EQ(bus.read(0x100, 8), ~u64{0});
    bus.write(0x100, 1, 4);
}

TEST_F(BusTest, OffsetsCountFromTheRange) {
    bus.map(0x3F8, 8, a, "a");
    EXPECT_EQ(bus.read(0x3F8, 1), 0xA0u);
    EXPECT_EQ(bus.read(0x3FF, 1), 0xA7u);
    EXPECT_EQ(bus.read(0x400, 1), 0xFFu);
    EXPECT_EQ(bus.read(0x3F7, 1), 0xFFu);
    bus.write(0x3FC, 0x1234, 2);
    EXPECT_EQ(a.last.offset, 4u);
    EXPECT_EQ(a.last.value, 0x1234u);
    EXPECT_EQ(a.last.size, 2u);
}

TEST_F(BusTest, ValuesAreCutToTheAccess) {
    bus.map(0, 8, a, "a");
    bus.write(0, 0x1234, 1);
    EXPECT_EQ(a.last.value, 0x34u);
}

TEST_F(BusTest, AnAccessPastTheEndIsSplitIntoBytes) {
    bus.map(0x10, 2, a, "a");
    bus.map(0x12, 1, b, "b");
    EXPECT_EQ(bus.read(0x10, 4), 0xFFB0A1A0u);
    EXPECT_EQ(bus.read(0x0F, 4), 0xB0A1A0FFu);
    bus.write(0x11, 0x5566, 2);
    EXPECT_EQ(a.last.value, 0x66u);
    EXPECT_EQ(b.last.value, 0x55u);
}

TEST_F(BusTest, TheRangeMappedLastWinsUntilItGoes) {
    bus.map(0, 16, a, "a");
    bus.map(4, 4, b, "b");
    EXPECT_EQ(bus.read(3, 1), 0xA3u);
    EXPECT_EQ(bus.read(4, 1), 0xB0u);
    EXPECT_EQ(bus.read(8, 1), 0xA8u);
    const auto pieces = bus.pieces();
    ASSERT_EQ(pieces.size(), 3u);
    EXPECT_EQ(pieces[2].first, 8u);
    EXPECT_EQ(pieces[2].last, 15u);
    EXPECT_EQ(pieces[2].offset, 8u);
    EXPECT_EQ(bus.ranges().size(), 2u);
    bus.unmap(b);
    EXPECT_EQ(bus.read(4, 1), 0xA4u);
}

// CF8 is a doubleword register, and CF9 a byte register in its middle.
TEST_F(BusTest, ADoublewordGoesWholeToTheRangeOfItsFirstByte) {
    bus.map(0xCF8, 4, a, "CONFADD");
    bus.map(0xCF9, 1, b, "reset");
    EXPECT_EQ(bus.read(0xCF8, 4), 0xA3A2A1A0u);
    EXPECT_EQ(bus.read(0xCF9, 1), 0xB0u);
    EXPECT_EQ(bus.read(0xCFA, 1), 0xA2u);
}

TEST_F(BusTest, UnmapTakesOneOfSeveralBases) {
    bus.map(0, 4, a, "a");
    bus.map(8, 4, a, "a again");
    bus.unmap(a, 0);
    EXPECT_EQ(bus.read(0, 1), 0xFFu);
    EXPECT_EQ(bus.read(8, 1), 0xA0u);
}

TEST_F(BusTest, ARangeAtTheTopOfTheAddressSpaceDoesNotWrap) {
    bus.map(~u64{0} - 3, 8, a, "top");
    EXPECT_EQ(bus.read(~u64{0}, 1), 0xA3u);
    EXPECT_EQ(bus.read(0, 1), 0xFFu);
    EXPECT_EQ(bus.read(~u64{0}, 2), 0xFFFFu & (0xFF00u | 0xA3u));
}

TEST_F(BusTest, ObserverHearsOfEveryChange) {
    unsigned changes = 0;
    bus.set_change_observer([&] {
        ++changes;
        EXPECT_LE(bus.ranges().size(), 2u); // Runs outside the lock.
    });
    bus.map(0, 4, a, "a");
    bus.unmap(b);
    EXPECT_EQ(changes, 1u);
    bus.unmap(a);
    EXPECT_EQ(changes, 2u);
}

// A device that moves itself while it is written, as a BAR does.
TEST_F(BusTest, ADeviceMayMapAndUnmapWhileItIsAccessed) {
    class Mover final : public IoRegion {
      public:
        explicit Mover(Bus& bus) : window_(bus, *this, 4, "mover") { window_.place(0x10); }
        u64 read(u64, unsigned) override { return 0x42; }
        void write(u64, u64 value, unsigned) override { window_.place(value); }

      private:
        Window window_;
    };
    Mover mover(bus);
    bus.write(0x10, 0x20, 1);
    EXPECT_EQ(bus.read(0x10, 1), 0xFFu);
    EXPECT_EQ(bus.read(0x20, 1), 0x42u);
}

TEST_F(BusTest, ByteRegionsGetWideAccessesAsBytesInOrder) {
    class Bytes final : public ByteRegion {
      public:
        u8 read_byte(u64 offset) override { return static_cast<u8>(0x10 + offset); }
        void write_byte(u64 offset, u8 value) override { written.push_back({offset, value}); }
        std::vector<std::pair<u64, u8>> written;
    } bytes;
    bus.map(0x70, 4, bytes, "bytes");
    EXPECT_EQ(bus.read(0x70, 4), 0x13121110u);
    bus.write(0x72, 0xBBAA, 2);
    EXPECT_EQ(bytes.written, (std::vector<std::pair<u64, u8>>{{2, 0xAA}, {3, 0xBB}}));
}

} // namespace
} // namespace calque::devices
