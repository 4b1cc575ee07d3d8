#include "mmu/leaf_cache.h"

#include "base/bits.h"

#include <algorithm>

namespace calque::mmu {

namespace {

constexpr unsigned large_shift = 21;

// A leaf in 64 bits: the page address in bits 39:12, what else there is below it and from bit 48.
constexpr unsigned key_at = 48;
constexpr u64 leaf_writable = 1, leaf_user = 2, leaf_no_execute = 4, leaf_dirty = 8, leaf_global = 16;
constexpr unsigned size_at = 5; // Two bits: index into `sizes`.
constexpr u64 sizes[] = {page_size, u64{1} << 21, u64{1} << 22, u64{1} << 30};

u64 pack(const Leaf& leaf, u64 granularity) {
    u64 data = leaf.address & ~(granularity - 1);
    data |= leaf.writable ? leaf_writable : 0;
    data |= leaf.user ? leaf_user : 0;
    data |= leaf.no_execute ? leaf_no_execute : 0;
    data |= leaf.dirty ? leaf_dirty : 0;
    data |= leaf.global ? leaf_global : 0;
    const auto size = std::find(std::begin(sizes), std::end(sizes), leaf.size) - std::begin(sizes);
    return data | static_cast<u64>(size) << size_at | static_cast<u64>(leaf.protection_key) << key_at;
}

Leaf unpack(u64 data, u64 linear) {
    const u64 size = sizes[bits(data, size_at, 2)];
    const u64 granularity = size == page_size ? page_size : u64{1} << large_shift;
    return {.address = (data & low_mask(key_at) & ~(granularity - 1)) | (linear & (granularity - 1)),
            .size = size,
            .writable = (data & leaf_writable) != 0,
            .user = (data & leaf_user) != 0,
            .no_execute = (data & leaf_no_execute) != 0,
            .dirty = (data & leaf_dirty) != 0,
            .global = (data & leaf_global) != 0,
            .protection_key = static_cast<u8>(data >> key_at)};
}

} // namespace

bool LeafCache::find_in(Set& set, u64 number, u64 space, u64 global_space, u64& data) {
    for (unsigned way = 0; way < ways; ++way) {
        const u64 tag = set[way].tag;
        if (tag != (number << page_shift | space) && tag != (number << page_shift | global_space)) continue;
        data = set[way].data;
        if (way != 0) std::swap(set[way], set[way - 1]); // The least used drift to the end, where they are replaced.
        return true;
    }
    return false;
}

void LeafCache::insert_in(Set& set, Entry entry) {
    unsigned way = 0;
    while (way < ways - 1 && set[way].tag != entry.tag)
        ++way;
    for (; way > 0; --way)
        set[way] = set[way - 1];
    set[0] = entry;
}

void LeafCache::drop_in(Set& set, u64 tag) {
    for (Entry& entry : set)
        if (entry.tag == tag) entry.tag = ~u64{0};
}

bool LeafCache::find(u64 linear, u64 space, u64 global_space, Leaf& out) {
    u64 data;
    const u64 small = linear >> page_shift, large = linear >> large_shift;
    if (!find_in(set_of(small_, small), small, space, global_space, data)
        && !find_in(set_of(large_, large), large, space, global_space, data))
        return false;
    out = unpack(data, linear);
    return true;
}

void LeafCache::insert(u64 linear, u64 space, const Leaf& leaf) {
    if (leaf.size == page_size) {
        const u64 number = linear >> page_shift;
        insert_in(set_of(small_, number), {number << page_shift | space, pack(leaf, page_size)});
    } else {
        const u64 number = linear >> large_shift;
        insert_in(set_of(large_, number), {number << page_shift | space, pack(leaf, u64{1} << large_shift)});
    }
}

void LeafCache::clear() {
    std::fill(small_.begin(), small_.end(), Set{});
    std::fill(large_.begin(), large_.end(), Set{});
}

void LeafCache::drop_page(u64 linear, u64 space) {
    const u64 small = linear >> page_shift;
    drop_in(set_of(small_, small), small << page_shift | space);
    for (const u64 half : {linear >> large_shift, linear >> large_shift ^ 1}) // Of a 4 MiB page, both.
        drop_in(set_of(large_, half), half << page_shift | space);
}

void LeafCache::drop_region(u64 linear, u64 length) {
    const auto drop = [&](Sets& sets, unsigned shift) {
        for (Set& set : sets)
            for (Entry& entry : set)
                if (entry.tag != ~u64{0} && (entry.tag >> page_shift << shift) - linear < length) entry.tag = ~u64{0};
    };
    drop(small_, page_shift);
    drop(large_, large_shift);
}

void LeafCache::resize(std::size_t sets) {
    Sets old = std::move(small_);
    small_.assign(sets, Set{});
    for (Set& set : old)
        for (unsigned way = ways; way-- > 0;)
            if (set[way].tag != ~u64{0}) insert_in(set_of(small_, set[way].tag >> page_shift), set[way]);
}

} // namespace calque::mmu
