#include "base/archive.h"

#include <gtest/gtest.h>

namespace calque {
namespace {

struct Sample {
    u32 a = 0;
    bool b = false;
    std::array<u16, 3> c{};
    std::vector<u8> d;
    void serialize(Archive& archive) {
        archive.section("sample", 1, [&](u32) {
            archive.field("a", a);
            archive.field("b", b);
            archive.field("c", c);
            archive.field("d", d);
        });
    }
};

std::vector<u8> saved() {
    Sample sample{0x12345678, true, {1, 2, 0xFFFF}, {9, 8, 7}};
    Archive archive = Archive::saver();
    sample.serialize(archive);
    return archive.take();
}

// Found by the undefined-behaviour sanitizer: memcpy with a null pointer.
TEST(Archive, AnEmptyVectorIntoAnEmptyVector) {
    Sample sample;
    Archive saver = Archive::saver();
    sample.serialize(saver);
    Archive loader = Archive::loader(saver.take());
    sample.d.shrink_to_fit();
    sample.serialize(loader);
    EXPECT_TRUE(loader.ok());
    EXPECT_TRUE(sample.d.empty());
}

TEST(Archive, RoundTrip) {
    Archive archive = Archive::loader(saved());
    Sample sample;
    sample.serialize(archive);
    ASSERT_TRUE(archive.ok()) << archive.result().error().message;
    EXPECT_EQ(sample.a, 0x12345678u);
    EXPECT_TRUE(sample.b);
    EXPECT_EQ(sample.c[2], 0xFFFF);
    EXPECT_EQ(sample.d, (std::vector<u8>{9, 8, 7}));
}

TEST(Archive, EveryFlippedBitIsFound) {
    const std::vector<u8> good = saved();
    for (std::size_t i = 0; i < good.size() * 8; ++i) {
        std::vector<u8> bad = good;
        bad[i / 8] ^= static_cast<u8>(1 << (i % 8));
        Archive archive = Archive::loader(bad);
        Sample sample;
        sample.serialize(archive);
        EXPECT_FALSE(archive.ok()) << "bit " << i;
    }
}

TEST(Archive, EveryTruncationIsFound) {
    const std::vector<u8> good = saved();
    for (std::size_t size = 0; size < good.size(); ++size) {
        Archive archive = Archive::loader({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
        Sample sample;
        sample.serialize(archive);
        EXPECT_FALSE(archive.ok()) << size;
    }
}

} // namespace
} // namespace calque
