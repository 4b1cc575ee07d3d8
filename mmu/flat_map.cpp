#include "mmu/flat_map.h"

#include <algorithm>

namespace calque::mmu {

namespace {

u64 last_of(const Region& region) {
    const u64 room = ~region.base.value;
    return region.base.value + std::min(region.length - 1, room);
}

// The first addresses of the stretches within which the same regions apply.
std::vector<u64> boundaries(const std::vector<Region>& regions) {
    std::vector<u64> starts{0};
    for (const Region& region : regions) {
        if (region.length == 0) continue;
        starts.push_back(region.base.value);
        if (last_of(region) != ~u64{0}) starts.push_back(last_of(region) + 1);
    }
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    return starts;
}

const Region* topmost(const std::vector<Region>& regions, u64 address) {
    const Region* best = nullptr;
    for (const Region& region : regions) {
        if (region.length == 0 || address < region.base.value || address > last_of(region)) continue;
        if (!best || region.priority >= best->priority) best = &region;
    }
    return best;
}

FlatRange range_for(const Region* region, u64 start, u64 last, IoTarget* default_target) {
    FlatRange range{start, last, nullptr, nullptr, default_target, default_target};
    if (!region) return range;
    const u64 offset = start - region->base.value;
    const bool memory = region->kind == RegionKind::ram || region->kind == RegionKind::rom;
    if (memory && region->host) {
        range.read_host = region->host + offset;
        range.read_target = nullptr;
    } else if (region->kind == RegionKind::io) {
        range.read_target = region->target;
    }
    const RegionKind write_kind = region->write_kind == RegionKind::unassigned ? region->kind : region->write_kind;
    u8* const write_host = region->write_host ? region->write_host : region->host;
    if (write_kind == RegionKind::ram && write_host) {
        range.write_host = write_host + offset;
        range.write_target = nullptr;
    } else if (write_kind == RegionKind::rom) {
        range.write_target = nullptr;
    } else if (write_kind == RegionKind::io) {
        range.write_target = region->target;
    }
    return range;
}

bool continues(const FlatRange& a, const FlatRange& b) {
    const u64 length = b.start - a.start;
    const auto follows = [&](const u8* x, const u8* y) { return x ? y == x + length : !y; };
    return follows(a.read_host, b.read_host) && follows(a.write_host, b.write_host) && a.read_target == b.read_target
           && a.write_target == b.write_target;
}

} // namespace

FlatMap::FlatMap(const std::vector<Region>& regions, IoTarget* default_target, const SmmMemory& smm) : smm_(smm) {
    const std::vector<u64> starts = boundaries(regions);
    for (std::size_t i = 0; i < starts.size(); ++i) {
        const u64 last = i + 1 < starts.size() ? starts[i + 1] - 1 : ~u64{0};
        const FlatRange range = range_for(topmost(regions, starts[i]), starts[i], last, default_target);
        if (!ranges_.empty() && continues(ranges_.back(), range))
            ranges_.back().last = last;
        else
            ranges_.push_back(range);
    }
    u32 first = 0;
    for (std::size_t i = 0; i < top_.size(); ++i) {
        const u64 start = static_cast<u64>(i) << 30;
        while (ranges_[first].last < start)
            ++first;
        top_[i] = build(start, 30, first);
    }
}

// The slot for the 2^shift bytes at `start`, whose first byte lies in range number `first`.
FlatMap::Slot FlatMap::build(u64 start, unsigned shift, u32 first) {
    const u64 last = start + ((u64{1} << shift) - 1);
    if (ranges_[first].last >= last) return first;
    if (shift == page_shift) return first | shared;
    const u32 index = static_cast<u32>(tables_.size());
    tables_.emplace_back();
    const unsigned below = shift - 9;
    for (u64 i = 0; i < 512; ++i) {
        const u64 slot_start = start + (i << below);
        while (ranges_[first].last < slot_start)
            ++first;
        const Slot slot = build(slot_start, below, first); // May move tables_.
        tables_[index][i] = slot;
    }
    return index | table;
}

FlatMap::Slot FlatMap::slot(u64 address) const {
    if (address >> top_bits) [[unlikely]] {
        const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                            [](u64 value, const FlatRange& range) { return value < range.start; });
        return static_cast<Slot>(after - ranges_.begin() - 1) | shared;
    }
    Slot slot = top_[address >> 30];
    if (slot & table) slot = tables_[slot & ~table][(address >> 21) & 511];
    if (slot & table) slot = tables_[slot & ~table][(address >> 12) & 511];
    return slot;
}

const FlatRange& FlatMap::find(u64 address) const {
    const Slot found = slot(address);
    const FlatRange* range = &ranges_[found & ~shared];
    while (range->last < address)
        ++range;
    return *range;
}

PhysicalMap::Page FlatMap::page(u64 address) const {
    const Slot found = slot(address);
    if (found & shared) return {};
    const FlatRange& range = ranges_[found];
    return {range.readable(address), range.writable(address)};
}

} // namespace calque::mmu
