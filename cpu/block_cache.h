// The decoded blocks of one vCPU, by physical address. Only its own thread uses it.
#pragma once

#include "cpu/block.h"
#include "mmu/large_memory.h"

#include <array>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

namespace calque::cpu {

struct BlockCacheCounters {
    u64 blocks = 0; // Decoded so far.
    u64 records = 0;
    u64 killed = 0; // By writes to their bytes.
    u64 flushes = 0;
    u64 links = 0;
};

class BlockCache {
  public:
    // Room for `records` records of 32 bytes, headers included; memory is committed as it is used.
    explicit BlockCache(u32 records);

    Block* find(PhysicalAddress address, u64 key) {
        const u64 hash = hash_of(address, key);
        for (std::size_t n = hash >> shift_; places_[n].index != 0; n = next(n)) {
            if (places_[n].tag != static_cast<u32>(hash) || places_[n].index == forgotten) continue;
            Block* const block = reinterpret_cast<Block*>(at(places_[n].index));
            if (block->address == address && block->key == key) return block;
        }
        return nullptr;
    }
    // True when there may not be room for another block: flush() before inserting, with nothing running.
    bool full() const { return used_ + block_room > capacity_ || places_used_ > places_.size() / 4 * 3; }
    // A block to fill: room for its records and chain records; commit() makes it known.
    Block* allocate();
    // `records`: how many were filled, chain records included.
    void commit(Block& block, unsigned records);
    // Forgets all blocks. Their memory is used again: no record may be running.
    void flush();
    // Makes `chain`, a record of a live block, lead to `target`.
    void link(const Instruction* chain, Block& target, Handler handler);
    // Kills the blocks that have a byte in the range. Their records stay in memory, as exits, until the next flush.
    void kill(PhysicalAddress address, u64 length);

    // Code that is rewritten again and again gets hot all the same: what was left of a killed block's heat, when that
    // was just now, or `otherwise`.
    i32 heat_left(PhysicalAddress address, u64 key, i32 otherwise) const {
        const Heat& heat = heats_[heat_slot(address, key) % heats_.size()];
        const bool known = heat.address == address && heat.key == key && counters_.blocks - heat.blocks <= heat_lasts;
        return known ? heat.left : otherwise;
    }
    void remember_heat(PhysicalAddress address, u64 key, i32 left) {
        heats_[heat_slot(address, key) % heats_.size()] = {address, key, counters_.blocks, left};
    }

    const BlockCacheCounters& counters() const { return counters_; }

    static constexpr u32 header_records = sizeof(Block) / sizeof(Instruction);
    // The most that one block takes: each instruction may have a chain record, and the block falls through.
    static constexpr u32 block_room = header_records + 2 * longest_block + 2;

  private:
    static constexpr u64 heat_lasts = 64; // Blocks.
    static constexpr u32 forgotten = ~u32{0};

    // Where a block is in the arena; one that is found with the same `tag` is most often the one. A cache line has
    // eight of these: blocks that are far apart in memory are told apart without a look at them.
    struct Place {
        u32 tag = 0;
        u32 index = 0; // 0: no block, and none further on; `forgotten`: none any more.
    };

    static u64 hash_of(PhysicalAddress address, u64 key) {
        const u64 mixed = (address.value ^ (key << 12)) * 0x9E3779B97F4A7C15;
        return mixed ^ (mixed >> 32); // The low half is the tag.
    }
    std::size_t next(std::size_t place) const { return (place + 1) & (places_.size() - 1); }
    static std::size_t heat_slot(PhysicalAddress address, u64 key) { return hash_of(address, key) >> 48; }
    Instruction* at(u32 index) { return reinterpret_cast<Instruction*>(arena_) + index; }
    u32 index_of(const Instruction* i) const {
        return static_cast<u32>(i - reinterpret_cast<const Instruction*>(arena_));
    }
    void enter(const Block& block);
    void kill(Block& block);

    mmu::LargeBytes memory_;
    std::byte* arena_;
    u32 capacity_;
    u32 used_;
    std::vector<Place, mmu::LargeAllocator<Place>> places_; // Open addressing; a power of two.
    unsigned shift_;                                        // Of a hash, to its first place.
    std::size_t places_used_ = 0;
    struct Heat {
        PhysicalAddress address{~u64{0}};
        u64 key = 0;
        u64 blocks = 0; // As counted when this was entered.
        i32 left = 0;
    };
    std::array<Heat, 1024> heats_;
    // The bytes of a block that lie in one page, from `first` to `last`: so that who looks for some leaves the others
    // alone, which are far apart in memory.
    struct Stretch {
        Block* block;
        u16 first, last;
    };
    std::unordered_map<u64, std::vector<Stretch>> pages_; // By physical page number.
    BlockCacheCounters counters_;
};

} // namespace calque::cpu
