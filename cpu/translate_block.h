// From the code at RIP to a block of records: fetches, decodes, and lays out the chain records.
#pragma once

#include "cpu/block_cache.h"
#include "cpu/decode/decoder.h"

#include <array>
#include <optional>

namespace calque::cpu {

inline constexpr std::size_t remembered_instructions = 8192; // By a vCPU's decoder.

class BlockTranslator {
  public:
    BlockTranslator(mmu::PhysicalMap& memory, BlockCache& cache, const CpuModel& model);

    // The code at one place: its linear address, where that is, and how many bytes the code segment's limit leaves.
    struct Place {
        LinearAddress linear;
        mmu::Mmu::CodePage page;
        u64 within_limit = ~u64{0};
    };
    // Decodes the block at `place` and enters it in the cache; at most `most` instructions. Null when fetching raised
    // an exception. What cannot be cached comes in a block of one instruction that is good until the next call.
    Block* translate(Cpu& cpu, const Place& place, const DecodeMode& mode, u64 key, unsigned most);
    // Whether the second page of a block that crosses is where it was. Nothing when fetching raised an exception.
    std::optional<bool> still_there(Cpu& cpu, const Block& block, LinearAddress linear);

    const Decoder& decoder() const { return decoder_; }
    u64 uncached() const { return uncached_; }
    // The last translation was of an instruction that a patch field touches (mmu/patch_fields.h).
    bool patched() const { return patched_; }

  private:
    struct Layout;
    struct Exit {
        unsigned insn; // That leaves.
        i64 target;    // Relative to the block's first byte.
        bool in_page;
    };

    Block* translate_in_page(Cpu& cpu, const Place& place, const DecodeMode& mode, u64 key, unsigned most);
    Block* translate_crossing(Cpu& cpu, const Place& place, const DecodeMode& mode, u64 key);
    Block* translate_uncached(Cpu& cpu, const Place& place, const DecodeMode& mode);
    // Of the page of `address`.
    void mark(Cpu& cpu, const u8* host, u64 length, PhysicalAddress address);
    // Decodes into `block` from `bytes`, which end at the end of the page. False: the first instruction goes on past
    // it.
    bool fill(Cpu& cpu, Block& block, std::span<const u8> bytes, const DecodeMode& mode, unsigned most, bool marking);
    unsigned finish(Block& block, bool falls_through, bool linkable);

    mmu::PhysicalMap& memory_;
    BlockCache& cache_;
    Decoder decoder_;
    std::array<Exit, longest_block> exits_{};
    unsigned exit_count_ = 0;
    bool falls_through_ = true;
    bool patched_ = false;
    u64 uncached_ = 0;
    // Where uncached blocks are decoded to.
    alignas(32) std::array<std::byte, BlockCache::block_room * sizeof(Instruction)> scratch_{};
};

} // namespace calque::cpu
