#include "frontend/backends/block/disk.h"
#include "frontend/backends/block/memory_image.h"
#include "frontend/backends/block/overlay_image.h"
#include "frontend/backends/block/raw_image.h"
#include "tests/backends/block_helpers.h"

#include <future>
#include <optional>

namespace calque::backends {
namespace {

using devices::BlockRequest;
using devices::BlockStatus;
using test::pattern;
using Kind = BlockRequest::Kind;

class DiskTest : public testing::Test {
  protected:
    std::unique_ptr<Disk> make(std::size_t size, DiskOptions options = {}) {
        memory_ = std::make_shared<MemoryImage>(pattern(size));
        faulty_ = std::make_shared<FaultyImage>(memory_);
        options.id = "disk0";
        return std::make_unique<Disk>(pool_, log_, options, faulty_);
    }
    static std::future<BlockStatus> start(Disk& disk, BlockRequest request) {
        auto promise = std::make_shared<std::promise<BlockStatus>>();
        auto result = promise->get_future();
        request.done = [promise](BlockStatus status) { promise->set_value(status); };
        disk.submit(std::move(request));
        return result;
    }
    static BlockStatus now(Disk& disk, BlockRequest request) { return start(disk, std::move(request)).get(); }

    Log log_;
    IoPool pool_{4};
    std::shared_ptr<MemoryImage> memory_;
    std::shared_ptr<FaultyImage> faulty_;
};

TEST_F(DiskTest, ScattersReadsAndGathersWrites) {
    const auto disk = make(64 << 10);
    std::vector<u8> a(100), b(412), c(1024);
    EXPECT_EQ(now(*disk, {.kind = Kind::read, .offset = 512, .buffers = {a, b, c}}), BlockStatus::ok);
    auto joined = a;
    joined.insert(joined.end(), b.begin(), b.end());
    joined.insert(joined.end(), c.begin(), c.end());
    const auto all = pattern(64 << 10);
    EXPECT_TRUE(std::equal(joined.begin(), joined.end(), all.begin() + 512));
    std::fill(a.begin(), a.end(), u8{0xAA});
    EXPECT_EQ(now(*disk, {.kind = Kind::write, .offset = 0, .buffers = {a, b}}), BlockStatus::ok);
    EXPECT_EQ(memory_->bytes()[99], 0xAA);
    EXPECT_EQ(memory_->bytes()[100], all[612]);
}

TEST_F(DiskTest, RefusesWhatIsNotOnTheMedium) {
    const auto disk = make(4096);
    std::vector<u8> sector(512), part(511);
    EXPECT_EQ(now(*disk, {.offset = 4096, .buffers = {sector}}), BlockStatus::out_of_range);
    EXPECT_EQ(now(*disk, {.offset = ~u64{511}, .buffers = {sector}}), BlockStatus::out_of_range);
    EXPECT_EQ(now(*disk, {.offset = 0, .buffers = {part}}), BlockStatus::out_of_range);
    EXPECT_EQ(now(*disk, {.kind = Kind::discard, .offset = 512, .length = ~u64{511}}), BlockStatus::out_of_range);
    EXPECT_EQ(now(*disk, {.kind = Kind::write_zeroes, .offset = 0, .length = 4096 + 512}), BlockStatus::out_of_range);
    Disk empty(pool_, log_, {.id = "cd", .serial = {}, .removable = true}, nullptr);
    EXPECT_EQ(now(empty, {.buffers = {sector}}), BlockStatus::no_medium);
    EXPECT_EQ(empty.size(), 0u);
    Disk protected_disk(pool_, log_, {.id = "ro", .serial = {}},
                        std::make_shared<MemoryImage>(std::vector<u8>(4096), true));
    EXPECT_EQ(now(protected_disk, {.kind = Kind::write, .buffers = {sector}}), BlockStatus::read_only);
    EXPECT_EQ(now(protected_disk, {.kind = Kind::discard, .length = 512}), BlockStatus::read_only);
    EXPECT_EQ(now(protected_disk, {.kind = Kind::flush}), BlockStatus::ok);
}

TEST_F(DiskTest, TheLastSectorOfAnOddFileIsFilledWithZeros) {
    const auto disk = make(1000);
    EXPECT_EQ(disk->size(), 1024u);
    std::vector<u8> sector(512, 0xFF);
    ASSERT_EQ(now(*disk, {.offset = 512, .buffers = {sector}}), BlockStatus::ok);
    EXPECT_EQ(sector[487], pattern(1000)[999]);
    EXPECT_EQ(sector[488], 0);
    std::fill(sector.begin(), sector.end(), u8{7});
    ASSERT_EQ(now(*disk, {.kind = Kind::write, .offset = 512, .buffers = {sector}}), BlockStatus::ok);
    EXPECT_EQ(memory_->bytes().size(), 1000u);
    EXPECT_EQ(memory_->bytes()[999], 7);
}

TEST_F(DiskTest, FlushesWhereTheGuestWasPromisedThePlatter) {
    const auto disk = make(4096);
    std::vector<u8> sector(512);
    now(*disk, {.kind = Kind::write, .buffers = {sector}});
    EXPECT_EQ(memory_->flushes(), 0u);
    now(*disk, {.kind = Kind::write, .buffers = {sector}, .force_unit_access = true});
    EXPECT_EQ(memory_->flushes(), 1u);
    now(*disk, {.kind = Kind::flush});
    EXPECT_EQ(memory_->flushes(), 2u);
    disk->set_write_cache(false);
    now(*disk, {.kind = Kind::write, .buffers = {sector}});
    now(*disk, {.kind = Kind::write_zeroes, .length = 512});
    EXPECT_EQ(memory_->flushes(), 4u);
    now(*disk, {.kind = Kind::read, .buffers = {sector}});
    EXPECT_EQ(memory_->flushes(), 4u);
}

TEST_F(DiskTest, ErrorsAreReportedOrIgnoredAsAsked) {
    DiskOptions options;
    options.on_write_error = ErrorAction::ignore;
    const auto disk = make(4096, options);
    std::vector<u8> sector(512);
    faulty_->read_error = EIO;
    faulty_->write_error = ENOSPC;
    EXPECT_EQ(now(*disk, {.buffers = {sector}}), BlockStatus::io_error);
    EXPECT_EQ(now(*disk, {.kind = Kind::write, .buffers = {sector}}), BlockStatus::ok);
}

TEST_F(DiskTest, WhatItDidIsCountedAndErrorsAreToldOf) {
    const auto disk = make(4096);
    std::vector<std::string> told;
    disk->set_watcher({[&](bool write, int error, ErrorAction action) {
                           told.push_back(fmt::format("{} {} {}", write, error == EIO, action == ErrorAction::report));
                       },
                       {}});
    std::vector<u8> sector(512);
    EXPECT_EQ(now(*disk, {.buffers = {sector}}), BlockStatus::ok);
    EXPECT_EQ(now(*disk, {.kind = Kind::write, .buffers = {sector, sector}}), BlockStatus::ok);
    EXPECT_EQ(now(*disk, {.kind = Kind::flush}), BlockStatus::ok);
    faulty_->read_error = EIO;
    EXPECT_EQ(now(*disk, {.buffers = {sector}}), BlockStatus::io_error);
    const auto& counted = disk->counters();
    EXPECT_EQ(counted.reads, 1u);
    EXPECT_EQ(counted.bytes_read, 512u);
    EXPECT_EQ(counted.writes, 1u);
    EXPECT_EQ(counted.bytes_written, 1024u);
    EXPECT_EQ(counted.flushes, 1u);
    EXPECT_EQ(counted.failed_reads, 1u);
    EXPECT_EQ(counted.failed_writes, 0u);
    EXPECT_EQ(told, std::vector<std::string>{"false true true"});
}

TEST_F(DiskTest, AFullHostStopsTheMachineAndTheRequestIsTriedAgain) {
    const auto disk = make(4096);
    std::promise<std::string> stopped;
    disk->set_stop_request([&](const std::string& why) { stopped.set_value(why); });
    faulty_->write_error = ENOSPC;
    std::vector<u8> sector(512, 0x5A);
    auto result = start(*disk, {.kind = Kind::write, .offset = 1024, .buffers = {sector}});
    EXPECT_NE(stopped.get_future().get().find("disk0: write at 0x400 failed: No space left"), std::string::npos);
    disk->drain(); // Does not wait for what waits.
    EXPECT_TRUE(disk->holds_requests());
    EXPECT_EQ(result.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
    faulty_->write_error = 0;
    disk->resume();
    EXPECT_EQ(result.get(), BlockStatus::ok);
    EXPECT_EQ(memory_->bytes()[1024], 0x5A);
    faulty_->write_error = EIO; // Only a lack of room stops it.
    EXPECT_EQ(now(*disk, {.kind = Kind::write, .buffers = {sector}}), BlockStatus::io_error);
}

TEST_F(DiskTest, EachActionMeetsEachErrorOfTheHostAsItsNameSays) {
    struct Row {
        ErrorAction action;
        int error;
        std::optional<BlockStatus> reading, writing; // Absent: the machine stops, and the request waits.
    };
    using A = ErrorAction;
    using S = BlockStatus;
    const std::vector<Row> rows{
        {A::report, EIO, S::io_error, S::io_error},
        {A::report, ENOSPC, S::no_space, S::no_space},
        {A::report, EROFS, S::read_only, S::read_only},
        {A::ignore, EIO, S::ok, S::ok},
        {A::ignore, EROFS, S::ok, S::ok},
        {A::stop, EIO, std::nullopt, std::nullopt},
        {A::stop, EROFS, std::nullopt, std::nullopt},
        {A::enospc, EIO, S::io_error, S::io_error},
        {A::enospc, ENOSPC, S::no_space, std::nullopt}, // Reads have no enospc.
    };
    for (const Row& row : rows) {
        DiskOptions options;
        options.on_write_error = row.action;
        options.on_read_error = row.action == A::enospc ? A::report : row.action;
        for (const bool writing : {false, true}) {
            const auto disk = make(4096, options);
            std::atomic<unsigned> stops{0};
            disk->set_stop_request([&](const std::string&) { ++stops; });
            faulty_->read_error = row.error;
            faulty_->write_error = row.error;
            std::vector<u8> sector(512);
            auto result = start(*disk, {.kind = writing ? Kind::write : Kind::read, .buffers = {sector}});
            disk->drain();
            const auto expected = writing ? row.writing : row.reading;
            EXPECT_EQ(disk->holds_requests(), !expected) << row.error << writing;
            EXPECT_EQ(stops, expected ? 0u : 1u) << row.error << writing;
            faulty_->read_error = 0;
            faulty_->write_error = 0;
            disk->resume();
            EXPECT_EQ(result.get(), expected.value_or(S::ok)) << row.error << writing;
        }
    }
}

TEST_F(DiskTest, DrainWaitsForEverythingThatWasSubmitted) {
    const auto disk = make(1 << 20);
    std::vector<std::vector<u8>> buffers(200, std::vector<u8>(512));
    std::atomic<int> done{0};
    for (std::size_t i = 0; i < buffers.size(); ++i)
        disk->submit({.kind = i % 2 ? Kind::read : Kind::write,
                      .offset = i * 512,
                      .buffers = {buffers[i]},
                      .done = [&](BlockStatus) { ++done; }});
    disk->drain();
    EXPECT_EQ(done, 200);
}

TEST_F(DiskTest, AMediumIsChangedUnlessTheGuestHoldsIt) {
    Disk drive(pool_, log_, {.id = "cd0", .serial = {}, .removable = true}, nullptr);
    std::vector<bool> told;
    drive.set_medium_observer([&](bool wanted) { told.push_back(wanted); });
    ASSERT_TRUE(drive.change_medium(std::make_shared<MemoryImage>(pattern(2048)), false).ok());
    EXPECT_EQ(drive.size(), 2048u);
    EXPECT_EQ(drive.medium_changes(), 1u);
    drive.lock_medium(true);
    EXPECT_FALSE(drive.change_medium(nullptr, false).ok());
    EXPECT_TRUE(drive.has_medium());
    ASSERT_TRUE(drive.change_medium(nullptr, true).ok());
    EXPECT_FALSE(drive.has_medium());
    EXPECT_FALSE(drive.medium_locked());
    EXPECT_EQ(told, (std::vector<bool>{false, true, false}));
    const auto fixed = make(4096);
    EXPECT_FALSE(fixed->change_medium(nullptr, true).ok());
}

TEST(ErrorActions, AreParsed) {
    EXPECT_EQ(*parse_error_action("werror", "enospc"), ErrorAction::enospc);
    EXPECT_EQ(*parse_error_action("rerror", "stop"), ErrorAction::stop);
    EXPECT_FALSE(parse_error_action("rerror", "enospc").ok());
}

// Random accesses against a plain vector; the base stays as it is.
TEST(OverlayImageTest, IsADiskOfItsOwnOverOneThatStaysAsItIs) {
    constexpr std::size_t size = (40 << 10) + 700;
    const auto base = std::make_shared<MemoryImage>(pattern(size), true);
    auto changes = RawImage::temporary(size);
    ASSERT_TRUE(changes.ok());
    OverlayImage overlay(base, std::move(*changes));
    auto model = pattern(size);
    u32 x = 12345;
    const auto random = [&](u32 below) {
        x = x * 1664525u + 1013904223u;
        return (x >> 8) % below;
    };
    for (int i = 0; i < 400; ++i) {
        const u64 offset = random(size), length = random(static_cast<u32>(std::min<u64>(size - offset, 12'000))) + 1;
        const auto at = model.begin() + static_cast<std::ptrdiff_t>(offset);
        switch (random(4)) {
        case 0: {
            const auto bytes = pattern(length, x);
            ASSERT_EQ(overlay.write(offset, bytes), 0);
            std::copy(bytes.begin(), bytes.end(), at);
            break;
        }
        case 1:
            if (random(4) != 0) break;
            ASSERT_EQ(overlay.write_zeroes(offset, length, true), 0);
            std::fill_n(at, length, u8{0});
            break;
        default: {
            std::vector<u8> bytes(length);
            ASSERT_EQ(overlay.read(offset, bytes), 0);
            ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), at)) << offset << " " << length << " step " << i;
        }
        }
    }
    EXPECT_TRUE(base->bytes() == pattern(size));
    EXPECT_EQ(overlay.write(size - 1, pattern(2)), EINVAL);
}

} // namespace
} // namespace calque::backends
