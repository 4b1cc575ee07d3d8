#include "frontend/backends/block/raw_image.h"
#include "tests/backends/block_helpers.h"

#include <cerrno>
#include <fstream>
#include <sys/stat.h>
#include <unistd.h>

namespace calque::backends {
namespace {

using test::pattern;
using test::TemporaryFolder;

class RawImageTest : public testing::Test {
  protected:
    std::string make(const std::string& name, const std::vector<u8>& bytes) {
        std::ofstream(folder_.file(name), std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        return folder_.file(name);
    }
    std::vector<u8> contents(const std::string& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    std::unique_ptr<RawImage> open(const std::string& path, RawOptions options = {}) {
        auto image = RawImage::open(path, options);
        if (!image) {
            ADD_FAILURE() << image.error().message;
            return nullptr;
        }
        return std::move(*image);
    }
    static u64 blocks(const std::string& path) {
        struct stat info {};
        ::stat(path.c_str(), &info);
        return static_cast<u64>(info.st_blocks) * 512;
    }
    TemporaryFolder folder_;
};

TEST_F(RawImageTest, WhatIsReadAtOnceIsWhatTheFileHas) {
    const auto image = open(make("now", pattern(1 << 20)));
    ASSERT_TRUE(image);
    const auto written = std::vector<u8>(4096, 0x5A);
    ASSERT_EQ(image->write(8192, written), 0);
    std::vector<u8> read(4096);
    // Not every file system can say what is in memory.
    EXPECT_TRUE(!image->read_now(8192, read) || read == written);
    EXPECT_FALSE(image->read_now((1 << 20) - 2048, read)) << "beyond the end";
    const auto direct = open(make("direct", pattern(1 << 20)), {.cache = *parse_cache_mode("none")});
    ASSERT_TRUE(direct);
    EXPECT_FALSE(direct->read_now(0, read)) << "past the host's memory";
}

TEST_F(RawImageTest, EveryCacheModeReadsAndWritesTheFile) {
    for (const char* mode : {"writeback", "none", "writethrough", "directsync", "unsafe"}) {
        SCOPED_TRACE(mode);
        auto expected = pattern(3 << 20);
        const auto path = make(mode, expected);
        const auto image = open(path, {.cache = *parse_cache_mode(mode)});
        ASSERT_TRUE(image);
        EXPECT_EQ(image->size(), expected.size());
        // Aligned, and not, in place, length and memory; longer than a bounce buffer.
        for (const auto& [offset, length] : std::vector<std::pair<u64, u64>>{
                 {0, 4096}, {512, 512}, {4096, 2 << 20}, {100, 7}, {(3 << 20) - 5, 5}, {8192, 4096 * 3}}) {
            const auto fresh = pattern(length + 1, static_cast<u32>(offset + 7));
            const std::span<const u8> unaligned(fresh.data() + 1, length);
            ASSERT_EQ(image->write(offset, unaligned), 0);
            std::copy(unaligned.begin(), unaligned.end(), expected.begin() + static_cast<std::ptrdiff_t>(offset));
            std::vector<u8> back(length + 1);
            ASSERT_EQ(image->read(offset, std::span(back).subspan(1)), 0);
            ASSERT_TRUE(std::equal(unaligned.begin(), unaligned.end(), back.begin() + 1));
        }
        EXPECT_EQ(image->flush(), 0);
        EXPECT_TRUE(contents(path) == expected);
    }
    EXPECT_FALSE(parse_cache_mode("fast").ok());
}

TEST_F(RawImageTest, NothingOutsideTheImageIsReadOrWritten) {
    const auto image = open(make("disk", pattern(4096)));
    std::vector<u8> buffer(1024);
    for (const u64 offset : {u64{3584}, u64{4096}, u64{4097}, ~u64{0}, ~u64{0} - 511}) {
        EXPECT_EQ(image->read(offset, buffer), EINVAL);
        EXPECT_EQ(image->write(offset, buffer), EINVAL);
        EXPECT_EQ(image->discard(offset, 1024), EINVAL);
        EXPECT_EQ(image->write_zeroes(offset, 1024, true), EINVAL);
    }
    EXPECT_EQ(image->discard(1, ~u64{0}), EINVAL);
    EXPECT_TRUE(contents(folder_.file("disk")) == pattern(4096));
}

TEST_F(RawImageTest, ZeroesAndDiscardsGiveRoomBack) {
    const auto bytes = pattern(1 << 20);
    const auto image = open(make("disk", bytes));
    ASSERT_EQ(image->flush(), 0);
    const auto path = folder_.file("disk");
    const u64 full = blocks(path);
    auto expected = bytes;
    ASSERT_EQ(image->write_zeroes(1000, 300'000, false), 0);
    std::fill_n(expected.begin() + 1000, 300'000, u8{0});
    ASSERT_EQ(image->flush(), 0);
    EXPECT_TRUE(contents(path) == expected);
    ASSERT_EQ(image->write_zeroes(400'001, 300'000, true), 0);
    std::fill_n(expected.begin() + 400'001, 300'000, u8{0});
    EXPECT_TRUE(contents(path) == expected);
    ASSERT_EQ(image->discard(0, 1 << 20), 0);
    ASSERT_EQ(image->flush(), 0);
    EXPECT_LT(blocks(path), full / 2);
    EXPECT_EQ(contents(path).size(), bytes.size());
    EXPECT_EQ(image->write_zeroes(0, 0, true), 0);
    EXPECT_EQ(image->discard(0, 0), 0);
}

TEST_F(RawImageTest, AReadOnlyImageIsNotWritten) {
    const auto image = open(make("disk", pattern(4096)), {.read_only = true});
    const std::vector<u8> zeros(512);
    EXPECT_TRUE(image->read_only());
    EXPECT_EQ(image->write(0, zeros), EROFS);
    EXPECT_EQ(image->discard(0, 512), EROFS);
    EXPECT_EQ(image->write_zeroes(0, 512, false), EROFS);
    EXPECT_EQ(image->resize(8192), EROFS);
    EXPECT_EQ(image->flush(), 0);
    EXPECT_TRUE(contents(folder_.file("disk")) == pattern(4096));
}

TEST_F(RawImageTest, ItGrowsWithZerosAndShrinks) {
    const auto image = open(make("disk", pattern(4096)));
    ASSERT_EQ(image->resize(8192), 0);
    std::vector<u8> tail(4096, 0xFF);
    ASSERT_EQ(image->read(4096, tail), 0);
    EXPECT_TRUE(tail == std::vector<u8>(4096));
    ASSERT_EQ(image->resize(512), 0);
    EXPECT_EQ(image->size(), 512u);
    EXPECT_EQ(contents(folder_.file("disk")).size(), 512u);
}

// The file became shorter behind our back: what it lacks reads as zeros, and nothing hangs.
TEST_F(RawImageTest, AFileThatWasCutOffReadsAsZeros) {
    const auto image = open(make("disk", pattern(8192)));
    ASSERT_EQ(::truncate(folder_.file("disk").c_str(), 100), 0);
    std::vector<u8> bytes(8192, 0xFF);
    ASSERT_EQ(image->read(0, bytes), 0);
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.begin() + 100, pattern(100).begin()));
    EXPECT_TRUE(std::all_of(bytes.begin() + 100, bytes.end(), [](u8 b) { return b == 0; }));
}

TEST_F(RawImageTest, OneWriterOrManyReaders) {
    const auto path = make("disk", pattern(4096));
    {
        const auto writer = open(path);
        for (const bool read_only : {false, true}) {
            const auto second = RawImage::open(path, {.read_only = read_only});
            ASSERT_FALSE(second.ok());
            EXPECT_NE(second.error().message.find("being written by another program"), std::string::npos);
        }
        EXPECT_TRUE(RawImage::open(path, {.read_only = true, .lock = false}).ok());
    }
    const auto reader = open(path, {.read_only = true}), another = open(path, {.read_only = true});
    const auto writer = RawImage::open(path, {});
    ASSERT_FALSE(writer.ok());
    EXPECT_NE(writer.error().message.find("in use by another program"), std::string::npos);
}

TEST_F(RawImageTest, WhatIsNoImageIsRefusedWithASentence) {
    const auto message = [&](const std::string& path, RawOptions options = {}) {
        const auto image = RawImage::open(path, options);
        return image ? std::string() : image.error().message;
    };
    EXPECT_NE(message(folder_.file("absent")).find("No such file"), std::string::npos);
    EXPECT_NE(message("/var/tmp").find("neither a file nor a block device"), std::string::npos);
    EXPECT_NE(message("/dev/null").find("neither a file nor a block device"), std::string::npos);
    if (::geteuid() != 0) {
        const auto path = make("locked", pattern(512));
        std::filesystem::permissions(path, std::filesystem::perms::owner_read);
        EXPECT_NE(message(path).find("readonly=on"), std::string::npos);
        EXPECT_EQ(message(path, {.read_only = true}), "");
    }
}

TEST_F(RawImageTest, ATemporaryImageIsSparseAndEmpty) {
    auto image = RawImage::temporary(u64{1} << 40);
    ASSERT_TRUE(image.ok()) << image.error().message;
    std::vector<u8> bytes(512, 0xFF);
    ASSERT_EQ((*image)->read((u64{1} << 40) - 512, bytes), 0);
    EXPECT_TRUE(bytes == std::vector<u8>(512));
    EXPECT_EQ((*image)->write(u64{1} << 39, pattern(512)), 0);
    EXPECT_FALSE(RawImage::temporary(512, "/nonexistent").ok());
}

} // namespace
} // namespace calque::backends
