// Blocks in the cache: found, killed, forgotten. (What they are linked to: the interpreter's tests.)
#include "cpu/block_cache.h"

#include <gtest/gtest.h>

namespace calque::cpu {
namespace {

constexpr unsigned records = 4; // Of each block here.

Block* add(BlockCache& cache, u64 address, u64 key = 0) {
    Block* const block = cache.allocate();
    block->address = PhysicalAddress(address);
    block->key = key;
    block->bytes = 8;
    block->count = 1;
    cache.commit(*block, records);
    return block;
}

TEST(BlockCache, FindsByAddressAndKey) {
    BlockCache cache(8 * BlockCache::block_room);
    Block* const a = add(cache, 0x1000, 1);
    Block* const b = add(cache, 0x1000, 2);
    EXPECT_EQ(cache.find(PhysicalAddress(0x1000), 1), a);
    EXPECT_EQ(cache.find(PhysicalAddress(0x1000), 2), b);
    EXPECT_EQ(cache.find(PhysicalAddress(0x1000), 3), nullptr);
    EXPECT_EQ(cache.find(PhysicalAddress(0x1001), 1), nullptr);
}

TEST(BlockCache, FindsEachOfAsManyAsThereIsRoomFor) {
    BlockCache cache(200 * BlockCache::block_room);
    std::vector<Block*> blocks;
    while (!cache.full())
        blocks.push_back(add(cache, 0x1000 + 16 * blocks.size()));
    EXPECT_GT(blocks.size(), 1000u);
    for (std::size_t n = 0; n < blocks.size(); ++n)
        ASSERT_EQ(cache.find(PhysicalAddress(0x1000 + 16 * n), 0), blocks[n]);
    EXPECT_EQ(cache.find(PhysicalAddress(0x1000 + 16 * blocks.size()), 0), nullptr);
    cache.flush();
    EXPECT_FALSE(cache.full());
    EXPECT_EQ(cache.find(PhysicalAddress(0x1000), 0), nullptr);
}

TEST(BlockCache, FindsTheOthersWhenSomeAreKilled) {
    BlockCache cache(200 * BlockCache::block_room);
    std::vector<Block*> blocks;
    while (!cache.full())
        blocks.push_back(add(cache, 0x1000 + 16 * blocks.size()));
    for (std::size_t n = 0; n < blocks.size(); n += 2)
        cache.kill(PhysicalAddress(0x1000 + 16 * n), 1);
    for (std::size_t n = 0; n < blocks.size(); ++n)
        ASSERT_EQ(cache.find(PhysicalAddress(0x1000 + 16 * n), 0), n % 2 == 0 ? nullptr : blocks[n]);
}

// Code that is rewritten for ever: its place is used again.
TEST(BlockCache, IsNotFullOfWhatWasKilled) {
    BlockCache cache(1u << 20);
    for (unsigned n = 0; n < 20000; ++n) {
        ASSERT_FALSE(cache.full());
        Block* const block = add(cache, 0x1000);
        ASSERT_EQ(cache.find(PhysicalAddress(0x1000), 0), block);
        cache.kill(PhysicalAddress(0x1000), 1);
    }
}

TEST(BlockCache, KillsWhatHasAByteInTheRange) {
    const auto survives = [](u64 address, u64 length) {
        BlockCache cache(8 * BlockCache::block_room);
        Block* const block = add(cache, 0x1FF0);
        cache.kill(PhysicalAddress(address), length);
        EXPECT_EQ(cache.find(PhysicalAddress(0x1FF0), 0), block->dead ? nullptr : block);
        return !block->dead;
    };
    EXPECT_TRUE(survives(0x1FE0, 16));
    EXPECT_TRUE(survives(0x1FF8, 16)); // Into the next page.
    EXPECT_TRUE(survives(0x2FF0, 8));
    EXPECT_FALSE(survives(0x1FE0, 17));
    EXPECT_FALSE(survives(0x1FF7, 1));
    EXPECT_FALSE(survives(0x0FF0, 0x3000));
}

TEST(BlockCache, KillsAnInstructionOnTwoPagesByEither) {
    const auto survives = [](u64 address, u64 length) {
        BlockCache cache(8 * BlockCache::block_room);
        Block* const block = cache.allocate();
        block->address = PhysicalAddress(0x1FFD);
        block->second_page = PhysicalAddress(0x7000);
        block->crosses = true;
        block->bytes = 8;
        block->count = 1;
        cache.commit(*block, records);
        cache.kill(PhysicalAddress(address), length);
        const bool alive = !block->dead;
        cache.kill(PhysicalAddress(0x1FFD), 3);
        cache.kill(PhysicalAddress(0x7000), 5); // It is killed once.
        EXPECT_EQ(cache.counters().killed, 1u);
        return alive;
    };
    EXPECT_TRUE(survives(0x1FF0, 13));
    EXPECT_TRUE(survives(0x2000, 16));
    EXPECT_TRUE(survives(0x7005, 16));
    EXPECT_FALSE(survives(0x1FFF, 1));
    EXPECT_FALSE(survives(0x7004, 1));
}

// Decoded again with a tighter code segment limit: the later block is the one that fits.
TEST(BlockCache, FindsTheLaterOfTwoForTheSameCode) {
    BlockCache cache(8 * BlockCache::block_room);
    add(cache, 0x1000);
    Block* const later = add(cache, 0x1000);
    EXPECT_EQ(cache.find(PhysicalAddress(0x1000), 0), later);
    cache.kill(PhysicalAddress(0x1000), 1);
    EXPECT_EQ(cache.find(PhysicalAddress(0x1000), 0), nullptr);
}

} // namespace
} // namespace calque::cpu
