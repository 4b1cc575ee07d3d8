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
