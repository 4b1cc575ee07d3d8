#include "frontend/backends/block/qcow2_refcounts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace calque::backends::qcow2 {

namespace {
constexpr u64 cache_bytes = 8 << 20;
constexpr unsigned offset_bits = 56; // Of what an L2 entry can name.
} // namespace

Result<void> Refcounts::load() {
    const Header& header = file_.header;
    const u64 cluster_size = geometry().cluster_size();
    std::vector<u8> bytes(u64{header.refcount_clusters} * cluster_size);
    const auto fail = [&](const std::string& what) {
        return error("'{}' is a damaged qcow2 image: {}; try qemu-img check -r all", file_.image().name(), what);
    };
    if (const int code = file_.read(header.refcount_offset, bytes))
        return error("'{}' cannot be read ({})", file_.image().name(), std::strerror(code));
    table_.resize(bytes.size() / 8);
    const u64 table_first = header.refcount_offset >> geometry().cluster_bits;
    for (u64 i = 0; i < table_.size(); ++i) {
        const u64 entry = load64(bytes, i);
        if (entry == 0) continue;
        const u64 cluster = entry >> geometry().cluster_bits;
        if (geometry().in_cluster(entry) != 0 || entry >= file_.size())
            return fail(fmt::format("refcount block {} at {:#x} is not in the file", i, entry));
        if (cluster - table_first < header.refcount_clusters)
            return fail(fmt::format("refcount block {} overlaps the refcount table", i));
        if (!block_clusters_.emplace(cluster, i).second)
            return fail(fmt::format("two refcount blocks are at {:#x}", entry));
        table_[i] = entry;
    }
    fresh_from_ = geometry().clusters(file_.size());
    return {};
}

bool Refcounts::owns(u64 cluster) const {
    const u64 table_first = file_.header.refcount_offset >> geometry().cluster_bits;
    return cluster - table_first < file_.header.refcount_clusters || block_clusters_.contains(cluster);
}

std::vector<Refcounts::Run> Refcounts::places() const {
    std::vector<Run> runs{{file_.header.refcount_offset >> geometry().cluster_bits, file_.header.refcount_clusters}};
    for (const auto& [cluster, index] : block_clusters_)
        runs.push_back({cluster, 1});
    return runs;
}

// Counts narrower than a byte stand in it from the lowest bit up; wider ones are big-endian.
u64 Refcounts::load_count(const Block& block, u64 entry) const {
    const unsigned order = geometry().refcount_order;
    const u8* const bytes = block.bytes.data();
    switch (order) {
    case 3: return bytes[entry];
    case 4: return qcow2::load<u16>(bytes + entry * 2);
    case 5: return qcow2::load<u32>(bytes + entry * 4);
    case 6: return qcow2::load<u64>(bytes + entry * 8);
    default: return bits(bytes[entry << order >> 3], static_cast<unsigned>((entry << order) & 7), 1u << order);
    }
}

void Refcounts::store_count(Block& block, u64 entry, u64 count) {
    const unsigned order = geometry().refcount_order;
    u8* const bytes = block.bytes.data();
    block.dirty = true;
    switch (order) {
    case 3: bytes[entry] = static_cast<u8>(count); break;
    case 4: store(bytes + entry * 2, static_cast<u16>(count)); break;
    case 5: store(bytes + entry * 4, static_cast<u32>(count)); break;
    case 6: store(bytes + entry * 8, count); break;
    default: {
        u8& byte = bytes[entry << order >> 3];
        byte = static_cast<u8>(with_bits(byte, static_cast<unsigned>((entry << order) & 7), 1u << order, count));
    }
    }
}

int Refcounts::find(u64 index, Block*& block) {
    block = nullptr;
    if (!has_block(index)) return 0;
    if (const auto found = cached_.find(index); found != cached_.end()) {
        blocks_.splice(blocks_.begin(), blocks_, found->second);
        block = &blocks_.front();
        return 0;
    }
    if (const int error = make_room()) return error;
    Block loaded{index, std::vector<u8>(geometry().cluster_size()), false};
    if (const int error = file_.read(table_[index], loaded.bytes)) return error;
    blocks_.push_front(std::move(loaded));
    cached_[index] = blocks_.begin();
    block = &blocks_.front();
    return 0;
}

int Refcounts::make_room() {
    const u64 most = std::max<u64>(4, cache_bytes >> geometry().cluster_bits);
    if (blocks_.size() < most) return 0;
    Block& last = blocks_.back();
    if (last.dirty) {
        if (const int error = write_block(last)) return error;
        const auto entry = std::find(new_entries_.begin(), new_entries_.end(), last.index);
        if (entry != new_entries_.end())
            if (const int error = write_back()) return error;
    }
    cached_.erase(last.index);
    blocks_.pop_back();
    return 0;
}

int Refcounts::write_block(Block& block) {
    if (const int error = file_.write(table_[block.index], block.bytes)) return error;
    block.dirty = false;
    return 0;
}

int Refcounts::write_table_entries(u64 first, u64 count) {
    std::vector<u8> bytes(count * 8);
    for (u64 i = 0; i < count; ++i)
        store64(bytes, i, table_[first + i]);
    return file_.write(file_.header.refcount_offset + first * 8, bytes);
}

// A block must be on the platter before the table names it.
int Refcounts::write_back(bool new_blocks_only) {
    for (Block& block : blocks_) {
        if (!block.dirty) continue;
        const bool is_new = std::find(new_entries_.begin(), new_entries_.end(), block.index) != new_entries_.end();
        if (new_blocks_only && !is_new) continue;
        if (const int error = write_block(block)) return error;
    }
    if (new_entries_.empty()) return 0;
    if (const int error = file_.flush()) return error;
    for (const u64 index : new_entries_)
        if (const int error = write_table_entries(index, 1)) return error;
    new_entries_.clear();
    return 0;
}

int Refcounts::get(u64 cluster, u64& count) {
    Block* block;
    if (const int error = find(block_of(cluster), block)) return error;
    count = block ? load_count(*block, entry_of(cluster)) : 0;
    return 0;
}

int Refcounts::is_full(u64 cluster, bool& full) {
    u64 count;
    if (const int error = get(cluster, count)) return error;
    full = count >= geometry().max_refcount();
    return 0;
}

int Refcounts::change(u64 first, u64 count, i64 delta) {
    for (u64 cluster = first; cluster < first + count; ++cluster) {
        Block* block;
        if (const int error = find(block_of(cluster), block)) return error;
        const u64 before = block ? load_count(*block, entry_of(cluster)) : 0;
        const u64 step = static_cast<u64>(delta < 0 ? -delta : delta);
        if (!block || (delta < 0 ? before < step : step > geometry().max_refcount() - before))
            return file_.mark_corrupt(fmt::format("the refcount {} of the cluster at {:#x} is wrong", before,
                                                  cluster << geometry().cluster_bits));
        const u64 after = before + static_cast<u64>(delta);
        store_count(*block, entry_of(cluster), after);
        if (after == 0) free_from_ = std::min(free_from_, cluster);
    }
    return 0;
}

// The block that counts `cluster`, placed at `cluster`: all that a missing block would count is free.
int Refcounts::create_block(u64 cluster) {
    const u64 index = block_of(cluster);
    if (const int error = make_room()) return error;
    if (const int error = check_free(cluster)) return error;
    if (const int error = file_.reserve((cluster + 1) << geometry().cluster_bits)) return error;
    blocks_.push_front({index, std::vector<u8>(geometry().cluster_size()), false});
    cached_[index] = blocks_.begin();
    store_count(blocks_.front(), entry_of(cluster), 1);
    table_[index] = cluster << geometry().cluster_bits;
    block_clusters_[cluster] = index;
    new_entries_.push_back(index);
    fresh_from_ = std::max(fresh_from_, cluster + 1);
    return 0;
}

// The table is full: a larger one, and the blocks that count it, are placed from `first_cluster`, which is the first
// that the old table cannot count. All of this is on the platter before the header names the new table.
int Refcounts::grow_table(u64 first_cluster) {
    if (const int error = write_back()) return error;
    const u64 cluster_size = geometry().cluster_size();
    const u64 first_block = block_of(first_cluster);
    u64 table_clusters = geometry().clusters(table_.size() * 8 * 2);
    if (table_clusters * cluster_size > std::max(max_refcount_table_bytes, cluster_size)) return ENOSPC;
    u64 block_count = 1;
    while (block_count * geometry().refcounts_per_block() < block_count + table_clusters)
        ++block_count;
    std::vector<u64> table = table_;
    table.resize(table_clusters * cluster_size / 8);
    if (first_block + block_count > table.size()) return ENOSPC;
    std::vector<Block> blocks;
    for (u64 i = 0; i < block_count; ++i) {
        table[first_block + i] = (first_cluster + i) << geometry().cluster_bits;
        blocks.push_back({first_block + i, std::vector<u8>(cluster_size), false});
    }
    for (u64 i = 0; i < block_count + table_clusters; ++i) {
        if (const int error = check_free(first_cluster + i)) return error;
        store_count(blocks[i >> geometry().refcounts_per_block_bits()], entry_of(i), 1);
    }
    const u64 table_at = first_cluster + block_count;
    const u64 old_first = file_.header.refcount_offset >> geometry().cluster_bits;
    const u64 old_clusters = file_.header.refcount_clusters;
    if (const int error = write_grown(table, table_at << geometry().cluster_bits, first_block, blocks)) return error;
    fresh_from_ = std::max(fresh_from_, table_at + table_clusters);
    return change(old_first, old_clusters, -1);
}

int Refcounts::write_grown(const std::vector<u64>& table, u64 table_at, u64 first_block, std::vector<Block>& blocks) {
    std::vector<u8> bytes(table.size() * 8);
    for (u64 i = 0; i < table.size(); ++i)
        store64(bytes, i, table[i]);
    if (const int error = file_.reserve(table_at + bytes.size())) return error;
    for (const Block& block : blocks)
        if (const int error = file_.write(table[block.index], block.bytes)) return error;
    if (const int error = file_.write(table_at, bytes)) return error;
    if (const int error = file_.flush()) return error;
    std::vector<u8> place(12); // The table's offset and size are neighbours: one write changes both.
    const u32 clusters = static_cast<u32>(bytes.size() >> geometry().cluster_bits);
    store(place.data(), table_at);
    store(place.data() + 8, clusters);
    if (const int error = file_.write_header_field(field::refcount_offset, place)) return error;
    if (const int error = file_.flush()) return error;
    file_.header.refcount_offset = table_at;
    file_.header.refcount_clusters = clusters;
    table_ = table;
    for (const Block& block : blocks)
        block_clusters_[table[first_block + (block.index - first_block)] >> geometry().cluster_bits] = block.index;
    return 0;
}

// Before a cluster is given out: does something that this program knows of live there although its count is 0?
int Refcounts::check_free(u64 cluster) {
    if (cluster != 0 && !owns(cluster) && !in_use_(cluster)) return 0;
    return file_.mark_corrupt(
        fmt::format("the cluster at {:#x} is counted as free but in use", cluster << geometry().cluster_bits));
}

int Refcounts::allocate(u64 wanted, Run& run) {
    u64 at = free_from_;
    for (;;) { // The first free cluster.
        if (at >> (offset_bits - geometry().cluster_bits) != 0) return ENOSPC;
        const u64 index = block_of(at);
        if (index >= table_.size()) {
            if (const int error = grow_table(index << geometry().refcounts_per_block_bits())) return error;
        } else if (table_[index] == 0) {
            if (const int error = create_block(at)) return error;
        }
        Block* block;
        if (const int error = find(index, block)) return error;
        u64 entry = entry_of(at);
        while (entry < geometry().refcounts_per_block() && load_count(*block, entry) != 0)
            ++entry;
        at = (index << geometry().refcounts_per_block_bits()) + entry;
        if (entry < geometry().refcounts_per_block()) break;
    }
    Block* block;
    if (const int error = find(block_of(at), block)) return error;
    const u64 most = std::min(wanted, geometry().refcounts_per_block() - entry_of(at));
    u64 count = 0;
    while (count < most && load_count(*block, entry_of(at) + count) == 0) {
        if (const int error = check_free(at + count)) return error;
        ++count;
    }
    if (const int error = file_.reserve((at + count) << geometry().cluster_bits)) return error;
    for (u64 i = 0; i < count; ++i)
        store_count(*block, entry_of(at) + i, 1);
    run = {at, count, at >= fresh_from_ && file_.grows_with_zeros()};
    free_from_ = at + count;
    fresh_from_ = std::max(fresh_from_, at + count);
    return 0;
}

// `wanted` free clusters that follow each other, the first not before `at`.
int Refcounts::find_together(u64 wanted, u64& at) {
    for (u64 found = 0; found < wanted;) {
        const u64 cluster = at + found;
        if (cluster >> (offset_bits - geometry().cluster_bits) != 0) return ENOSPC;
        const u64 index = block_of(cluster);
        if (index >= table_.size()) {
            if (const int error = grow_table(index << geometry().refcounts_per_block_bits())) return error;
        } else if (table_[index] == 0) {
            if (const int error = create_block(cluster)) return error;
        }
        u64 count;
        if (const int error = get(cluster, count)) return error;
        if (count == 0) {
            if (const int error = check_free(cluster)) return error;
            ++found;
        } else {
            at = cluster + 1;
            found = 0;
        }
    }
    return file_.reserve((at + wanted) << geometry().cluster_bits);
}

int Refcounts::allocate_together(u64 wanted, u64& first) {
    first = fresh_from_;
    int error = find_together(wanted, first);
    if (error == ENOSPC) { // The file cannot grow, and may have holes.
        first = free_from_;
        error = find_together(wanted, first);
    }
    if (error == 0) error = change(first, wanted, 1);
    if (error == 0) fresh_from_ = std::max(fresh_from_, first + wanted);
    return error;
}

} // namespace calque::backends::qcow2
