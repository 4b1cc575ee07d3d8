// qcow2 in memory: random operations against a plain model, lost power, failing files, several threads, snapshots.
#include "tests/backends/qcow2_fixture.h"

#include <optional>
#include <thread>

namespace calque::backends {
namespace {

using test::MemoryDisk;
using test::MemoryImage;
using test::Qcow2Fixture;
using test::Sectors;
using test::Shape;
using test::shape_of;

constexpr u64 KiB = 1024, MiB = 1024 * KiB;

class Qcow2Test : public testing::TestWithParam<Shape> {};

const Shape shapes[] = {
    {"512", shape_of(512), 0},
    {"512Backed", shape_of(512), 300 * KiB},
    {"4K", shape_of(4096), 0},
    {"4KLazyBacked", shape_of(4096, 3, 16, true), 1 * MiB + 512},
    {"64K", shape_of(65536), 0},
    {"64KBacked", shape_of(65536), 1 * MiB + 3 * KiB},
    {"64KVersion2", shape_of(65536, 2), 0},
    {"4KVersion2Backed", shape_of(4096, 2), 1 * MiB},
    {"2M", shape_of(2 * MiB), 2 * MiB},
    {"Refcount1", shape_of(4096, 3, 1), 0},
    {"Refcount2", shape_of(512, 3, 2), 0},
    {"Refcount8", shape_of(1024, 3, 8), 100 * KiB},
    {"Refcount32", shape_of(512, 3, 32), 0},
    {"Refcount64", shape_of(512, 3, 64), 0},
};
INSTANTIATE_TEST_SUITE_P(Shapes, Qcow2Test, testing::ValuesIn(shapes),
                         [](const auto& shape) { return std::string(shape.param.label); });

constexpr u64 disk_size = 3 * MiB + 512;

// The value of a sector, read while nothing fails.
u64 peek(BlockImage& image, MemoryDisk& disk, u64 sector) {
    const auto fault = std::exchange(disk.fault, nullptr);
    std::vector<u8> data(512);
    EXPECT_EQ(image.read(sector * 512, data), 0);
    disk.fault = fault;
    u64 value;
    std::memcpy(&value, data.data(), sizeof value);
    EXPECT_EQ(data, Sectors::bytes(value)) << "a sector of pieces";
    return value;
}

// One operation that a guest could ask for; gives what the image answered. The model follows. Where the image failed,
// or discarded, a sector may have the old or the new value: it is read.
int random_operation(BlockImage& image, Qcow2Fixture& fixture, std::mt19937_64& random, u64& next_value) {
    Sectors& sectors = fixture.sectors;
    const u64 longest = random() % 4 == 0 ? 1024 : 24;
    const u64 first = random() % sectors.count();
    const u64 count = 1 + random() % std::min<u64>(longest, sectors.count() - first);
    const u64 what = random() % 16;
    const auto tell = [&](int error, u64 value, bool certain) {
        for (u64 i = first; i < first + count; ++i) {
            const u64 before = sectors.now(i);
            sectors.add(i, value);
            if (certain && error == 0) continue;
            const u64 now = peek(image, *fixture.disk, i);
            EXPECT_TRUE(now == before || now == value);
            sectors.add(i, now);
        }
        return error;
    };
    if (what < 9) {
        const u64 value = next_value++;
        return tell(image.write(first * 512, Sectors::bytes(value, count)), value, true);
    }
    if (what < 11) return tell(image.write_zeroes(first * 512, count * 512, random() % 2), 0, true);
    if (what < 13) return tell(image.discard(first * 512, count * 512), 0, false);
    if (what < 15) {
        std::vector<u8> data(count * 512);
        return image.read(first * 512, data);
    }
    const int error = image.flush();
    if (error == 0) sectors.settle();
    return error;
}

TEST_P(Qcow2Test, RandomOperationsGiveWhatAPlainDiskGives) {
    Qcow2Fixture fixture(GetParam(), disk_size);
    std::mt19937_64 random(7);
    u64 value = 1;
    for (int session = 0; session < 4; ++session) {
        auto image = fixture.open();
        ASSERT_TRUE(image);
        EXPECT_EQ(image->size(), disk_size);
        for (int i = 0; i < 250; ++i)
            ASSERT_EQ(random_operation(*image, fixture, random, value), 0);
        EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
        EXPECT_EQ(image->close(), 0);
        image.reset();
        fixture.expect_clean();
        auto again = fixture.open(true);
        EXPECT_EQ(fixture.sectors.wrong(*again, true), 0u) << "after it was closed";
    }
    EXPECT_TRUE(fixture.reports.empty()) << fixture.reports.front();
}

// The power goes at any call that the image makes to its file, so in the middle of flushes too.
TEST_P(Qcow2Test, LostPowerLosesNothingThatWasFlushed) {
    std::mt19937_64 random(11);
    u64 value = 1;
    Qcow2Fixture fixture(GetParam(), 1 * MiB);
    for (int loss = 0; loss < 40; ++loss) {
        auto image = fixture.open();
        ASSERT_TRUE(image);
        std::optional<std::vector<u8>> left;
        u64 calls = 1 + random() % 200;
        fixture.disk->watch = [&] {
            if (--calls == 0) left = fixture.disk->after_power_loss(random);
        };
        while (!left) {
            fixture.sectors.forget_unsettled();
            ASSERT_EQ(random_operation(*image, fixture, random, value), 0);
            // A flush that had not ended promises nothing.
            if (left) fixture.sectors.unsettle();
        }
        fixture.disk->watch = nullptr;
        image.reset();
        fixture.disk->bytes = fixture.disk->durable = *left;
        fixture.disk->changes.clear();
        auto after = fixture.open(); // Repairs lazy refcounts.
        ASSERT_TRUE(after);
        fixture.expect_clean(true);
        ASSERT_EQ(fixture.sectors.wrong(*after, false), 0u) << "loss " << loss;
        ASSERT_EQ(after->flush(), 0);
    }
}

TEST_P(Qcow2Test, AFileThatFailsGivesErrorsAndStaysWhole) {
    std::mt19937_64 random(13);
    u64 value = 1;
    int failures = 0;
    for (int round = 0; round < 12; ++round) {
        Qcow2Fixture fixture(GetParam(), 1 * MiB);
        auto image = fixture.open();
        ASSERT_TRUE(image);
        const int error = round % 2 ? EIO : ENOSPC;
        fixture.disk->fault = [&] { return random() % 24 == 0 ? error : 0; };
        for (int i = 0; i < 150; ++i) {
            const int result = random_operation(*image, fixture, random, value);
            ASSERT_TRUE(result == 0 || result == error) << result;
            failures += result != 0;
        }
        fixture.disk->fault = nullptr;
        EXPECT_EQ(image->flush(), 0);
        EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
        image.reset();
        fixture.expect_clean(true);
        auto again = fixture.open(true);
        EXPECT_EQ(fixture.sectors.wrong(*again, true), 0u);
        EXPECT_TRUE(fixture.reports.empty()) << fixture.reports.front();
    }
    EXPECT_GT(failures, 20);
}

TEST_P(Qcow2Test, SeveralThreadsShareClusters) {
    constexpr u64 threads = 4;
    Qcow2Fixture fixture(GetParam(), disk_size);
    fixture.disk->track = false;
    auto image = fixture.open();
    ASSERT_TRUE(image);
    std::vector<std::thread> running;
    for (u64 t = 0; t < threads; ++t)
        running.emplace_back([&, t] { // Each has every fourth run of three sectors.
            std::mt19937_64 random(100 + t);
            for (u64 i = 1; i <= 400; ++i) {
                const u64 first = (random() % (fixture.sectors.count() / (3 * threads)) * threads + t) * 3;
                const u64 value = (t + 1) * 1'000'000 + i;
                if (random() % 8 == 0) {
                    EXPECT_EQ(image->write_zeroes(first * 512, 3 * 512, true), 0);
                    for (u64 s = first; s < first + 3; ++s)
                        fixture.sectors.set(s, 0);
                } else {
                    EXPECT_EQ(image->write(first * 512, Sectors::bytes(value, 3)), 0);
                    for (u64 s = first; s < first + 3; ++s)
                        fixture.sectors.set(s, value);
                }
                std::vector<u8> data(512);
                EXPECT_EQ(image->read(first * 512, data), 0);
                EXPECT_EQ(data, Sectors::bytes(fixture.sectors.now(first)));
                if (random() % 32 == 0) {
                    EXPECT_EQ(image->flush(), 0);
                }
            }
        });
    for (std::thread& thread : running)
        thread.join();
    EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
    EXPECT_EQ(image->close(), 0);
    image.reset();
    fixture.expect_clean();
    auto again = fixture.open(true);
    EXPECT_EQ(fixture.sectors.wrong(*again, true), 0u);
}

TEST_P(Qcow2Test, SnapshotsKeepWhatWas) {
    Qcow2Fixture fixture(GetParam(), 1 * MiB);
    const bool can = GetParam().create.refcount_bits > 2;
    std::mt19937_64 random(17);
    u64 value = 1;
    auto image = fixture.open();
    ASSERT_TRUE(image);
    const auto work = [&] {
        for (int i = 0; i < 60; ++i)
            ASSERT_EQ(random_operation(*image, fixture, random, value), 0);
    };
    work();
    const Sectors first = fixture.sectors;
    const auto taken = image->create_snapshot("first", 1'700'000'000, 5);
    if (GetParam().create.refcount_bits == 1) {
        ASSERT_FALSE(taken.ok());
        EXPECT_NE(taken.error().message.find("1 bits"), std::string::npos);
        return;
    }
    ASSERT_TRUE(taken.ok()) << taken.error().message;
    fixture.expect_clean();
    work();
    const Sectors second = fixture.sectors;
    if (!can) return;
    ASSERT_TRUE(image->create_snapshot("second", 1'700'000'001, 6).ok());
    work();
    EXPECT_EQ(image->close(), 0);
    image.reset();
    fixture.expect_clean();

    image = fixture.open();
    EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
    const auto list = image->snapshots();
    ASSERT_TRUE(list.ok());
    ASSERT_EQ(list->size(), 2u);
    EXPECT_EQ((*list)[0].id, "1");
    EXPECT_EQ((*list)[1].name, "second");
    EXPECT_EQ((*list)[1].seconds, 1'700'000'001u);
    ASSERT_TRUE(image->apply_snapshot("first").ok());
    fixture.sectors = first;
    EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
    fixture.expect_clean();
    work();
    EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
    ASSERT_TRUE(image->delete_snapshot("1").ok());
    EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
    ASSERT_TRUE(image->apply_snapshot("2").ok());
    fixture.sectors = second;
    EXPECT_EQ(fixture.sectors.wrong(*image, true), 0u);
    EXPECT_FALSE(image->apply_snapshot("first").ok());
    ASSERT_TRUE(image->delete_snapshot("second").ok());
    work();
    EXPECT_EQ(image->close(), 0);
    image.reset();
    fixture.expect_clean();
}

TEST_P(Qcow2Test, ResizeShowsZerosAndForgetsWhatWasCut) {
    Qcow2Fixture fixture(GetParam(), 1 * MiB);
    auto image = fixture.open();
    ASSERT_TRUE(image);
    const std::vector<u8> data = Sectors::bytes(42, 1 * MiB / 512);
    ASSERT_EQ(image->write(0, data), 0);
    ASSERT_EQ(image->resize(333 * 512), 0);
    EXPECT_EQ(image->size(), 333u * 512);
    ASSERT_EQ(image->resize(20 * MiB), 0);
    std::vector<u8> read(2 * MiB);
    ASSERT_EQ(image->read(333 * 512, read), 0);
    EXPECT_EQ(read, std::vector<u8>(2 * MiB));
    ASSERT_EQ(image->write(19 * MiB, data), 0);
    EXPECT_EQ(image->close(), 0);
    image.reset();
    fixture.expect_clean();
    image = fixture.open();
    EXPECT_EQ(image->size(), 20 * MiB);
    read.resize(1 * MiB);
    ASSERT_EQ(image->read(19 * MiB, read), 0);
    EXPECT_EQ(read, data);
    ASSERT_EQ(image->read(0, std::span(read).first(333 * 512)), 0);
    EXPECT_EQ(std::vector<u8>(read.begin(), read.begin() + 333 * 512), Sectors::bytes(42, 333));
}

TEST(Qcow2, WritesToAllocatedClustersNeedNoSecondFlush) {
    Qcow2Fixture fixture({"", shape_of(65536), 0}, 1 * MiB);
    auto image = fixture.open();
    ASSERT_EQ(image->write(0, Sectors::bytes(1, 128)), 0);
    ASSERT_EQ(image->flush(), 0);
    const u64 before = fixture.disk->flushes;
    ASSERT_EQ(image->write(4096, Sectors::bytes(2, 8)), 0);
    ASSERT_EQ(image->flush(), 0);
    EXPECT_EQ(fixture.disk->flushes, before + 1);
}

TEST(Qcow2, ASmallWriteToAFreshClusterWritesNoZerosAroundIt) {
    Qcow2Fixture fixture({"", shape_of(65536), 0}, 64 * MiB);
    auto image = fixture.open();
    ASSERT_EQ(image->write(32 * MiB, Sectors::bytes(1, 8)), 0);
    const u64 before = fixture.disk->written;
    ASSERT_EQ(image->write(33 * MiB, Sectors::bytes(1, 8)), 0);
    EXPECT_EQ(fixture.disk->written - before, 4096u);
}

TEST(Qcow2, DiscardedClustersAreUsedAgain) {
    Qcow2Fixture fixture({"", shape_of(65536), 0}, 8 * MiB);
    auto image = fixture.open();
    const auto data = Sectors::bytes(5, 4 * MiB / 512);
    for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(image->write(0, data), 0);
        ASSERT_EQ(image->discard(0, 4 * MiB), 0);
        ASSERT_EQ(image->flush(), 0);
    }
    ASSERT_EQ(image->close(), 0);
    EXPECT_LT(fixture.disk->bytes.size(), 10 * MiB);
    fixture.expect_clean();
}

// While a request is at the file, its cluster is discarded and flushed, and another one is written and flushed.
void reuse_meanwhile(Qcow2Fixture& fixture, Qcow2Image& image) {
    fixture.disk->pause = [&] {
        fixture.disk->pause = nullptr;
        EXPECT_EQ(image.discard(0, 65536), 0);
        EXPECT_EQ(image.flush(), 0);
        EXPECT_EQ(image.flush(), 0);
        EXPECT_EQ(image.write(65536, Sectors::bytes(2, 128)), 0);
        EXPECT_EQ(image.flush(), 0);
    };
}

TEST(Qcow2, AReadIsNotGivenAnotherClustersData) {
    Qcow2Fixture fixture({"", shape_of(65536), 0}, 1 * MiB);
    auto image = fixture.open();
    ASSERT_EQ(image->write(0, Sectors::bytes(1, 128)), 0);
    ASSERT_EQ(image->flush(), 0);
    reuse_meanwhile(fixture, *image);
    std::vector<u8> data(65536);
    ASSERT_EQ(image->read(0, data), 0);
    EXPECT_EQ(data, Sectors::bytes(1, 128));
}

TEST(Qcow2, ALateWriteDoesNotGoToAnotherClustersPlace) {
    Qcow2Fixture fixture({"", shape_of(65536), 0}, 1 * MiB);
    auto image = fixture.open();
    ASSERT_EQ(image->write(0, Sectors::bytes(1, 128)), 0);
    ASSERT_EQ(image->flush(), 0);
    reuse_meanwhile(fixture, *image);
    ASSERT_EQ(image->write(4096, Sectors::bytes(3, 8)), 0);
    std::vector<u8> data(65536);
    ASSERT_EQ(image->read(65536, data), 0);
    EXPECT_EQ(data, Sectors::bytes(2, 128));
    ASSERT_EQ(image->close(), 0);
    fixture.expect_clean();
}

TEST(Qcow2, ReadOnlyImagesRefuseWrites) {
    Qcow2Fixture fixture({"", shape_of(65536), 0}, 1 * MiB);
    const std::vector<u8> before = fixture.disk->bytes;
    auto image = fixture.open(true);
    EXPECT_EQ(image->write(0, Sectors::bytes(1)), EROFS);
    EXPECT_EQ(image->discard(0, 65536), EROFS);
    EXPECT_EQ(image->write_zeroes(0, 65536, true), EROFS);
    EXPECT_EQ(image->resize(0), EROFS);
    EXPECT_EQ(image->flush(), 0);
    EXPECT_FALSE(image->create_snapshot("x", 0, 0).ok());
    image.reset();
    EXPECT_EQ(fixture.disk->bytes, before);
}

TEST(Qcow2, RangesOutsideTheDiskAreRefused) {
    Qcow2Fixture fixture({"", shape_of(65536), 0}, 1 * MiB);
    auto image = fixture.open();
    std::vector<u8> data(1024);
    EXPECT_EQ(image->read(1 * MiB - 512, data), EINVAL);
    EXPECT_EQ(image->write(1 * MiB - 512, data), EINVAL);
    EXPECT_EQ(image->write(~u64{0} - 100, data), EINVAL);
    EXPECT_EQ(image->discard(512, ~u64{0}), EINVAL);
    EXPECT_EQ(image->write_zeroes(1 * MiB, 1, false), EINVAL);
    EXPECT_EQ(image->read(1 * MiB, {}), 0);
}

} // namespace
} // namespace calque::backends
