#include "cpu/block_cache.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <new>

namespace calque::cpu {

static_assert(sizeof(Block) % sizeof(Instruction) == 0 && sizeof(Instruction) == 32);

namespace {
// For blocks of eight records, headers included; there may be as many as half as large.
constexpr u32 most_places = 1u << 18, fewest_places = 1u << 10;
u32 places_for(u32 records) { return std::clamp(std::bit_ceil(records / 4), fewest_places, most_places); }
} // namespace

BlockCache::BlockCache(u32 records)
    : memory_(mmu::large_bytes((records + std::size_t{1}) * sizeof(Instruction))), capacity_(records),
      places_(places_for(records)), shift_(64u - static_cast<unsigned>(std::countr_zero(places_.size()))) {
    const auto start = reinterpret_cast<std::uintptr_t>(memory_.get());
    arena_ = memory_.get() + (-start & (sizeof(Instruction) - 1));
    used_ = 1; // Index 0 is none.
}

Block* BlockCache::allocate() { return new (at(used_)) Block; }

void BlockCache::commit(Block& block, unsigned records) {
    used_ += header_records + records;
    enter(block);
    const u64 first = block.address.page_offset(), end = first + block.bytes;
    const auto last = [](u64 end_in_page) { return static_cast<u16>(std::min(end_in_page, page_size) - 1); };
    pages_[block.address.page_number()].push_back({&block, static_cast<u16>(first), last(end)});
    if (block.crosses) pages_[block.second_page.page_number()].push_back({&block, 0, last(end - page_size)});
    block.born = static_cast<u32>(counters_.blocks++);
    counters_.records += block.count;
}

// In the place of one for the same code, if there is one (which was too long for the code segment's limit).
void BlockCache::enter(const Block& block) {
    const u64 hash = hash_of(block.address, block.key);
    const auto taken = [&](const Place& place) {
        if (place.index == 0 || place.index == forgotten) return false;
        if (place.tag != static_cast<u32>(hash)) return true;
        const Block& other = *reinterpret_cast<const Block*>(at(place.index));
        return other.address != block.address || other.key != block.key;
    };
    std::size_t n = hash >> shift_;
    while (taken(places_[n]))
        n = next(n);
    if (places_[n].index == 0) ++places_used_;
    places_[n] = {static_cast<u32>(hash), index_of(reinterpret_cast<const Instruction*>(&block))};
}

void BlockCache::flush() {
    used_ = 1;
    std::fill(places_.begin(), places_.end(), Place{});
    places_used_ = 0;
    pages_.clear();
    ++counters_.flushes;
}

void BlockCache::link(const Instruction* chain, Block& target, Handler handler) {
    auto& record = *const_cast<Instruction*>(chain);
    record.immediate = reinterpret_cast<u64>(target.records());
    record.displacement = static_cast<i32>(target.incoming);
    record.handler = handler;
    target.incoming = index_of(chain);
    ++counters_.links;
}

void BlockCache::kill(Block& block) {
    block.dead = true;
    const bool brief = static_cast<u32>(counters_.blocks) - block.born <= heat_lasts;
    if (brief && block.heat < std::numeric_limits<i32>::max() / 2) remember_heat(block.address, block.key, block.heat);
    for (unsigned n = 0; n < block.count; ++n)
        block.records()[n].handler = stale;
    for (u32 index = block.incoming; index != 0;) {
        Instruction& chain = *at(index);
        index = static_cast<u32>(chain.displacement);
        chain.handler = chain_unlinked;
        chain.displacement = 0;
    }
    block.incoming = 0;
    const u32 own = index_of(reinterpret_cast<const Instruction*>(&block));
    std::size_t place = hash_of(block.address, block.key) >> shift_;
    while (places_[place].index != own && places_[place].index != 0)
        place = next(place);
    if (places_[place].index == own) places_[place].index = forgotten;
    ++counters_.killed;
}

void BlockCache::kill(PhysicalAddress address, u64 length) {
    if (length == 0) return;
    const PhysicalAddress last = address + (length - 1);
    for (u64 page = address.page_number(); page <= last.page_number(); ++page) {
        const auto found = pages_.find(page);
        if (found == pages_.end()) continue;
        const u64 from = page == address.page_number() ? address.page_offset() : 0;
        const u64 to = page == last.page_number() ? last.page_offset() : page_size - 1;
        std::erase_if(found->second, [&](const Stretch& stretch) {
            if (stretch.first > to || stretch.last < from) return false;
            if (!stretch.block->dead) kill(*stretch.block);
            return true;
        });
        if (found->second.empty()) pages_.erase(found);
    }
}

} // namespace calque::cpu
