#include "frontend/backends/block/qcow2_tables.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace calque::backends::qcow2 {

namespace {
constexpr u64 cache_bytes = 32 << 20; // Tables for 256 GiB of disk with clusters of 64 KiB.
constexpr u64 l1_dirty_entries = 512 / 8;
constexpr int eviction_tries = 64;
} // namespace

Tables::Tables(File& file) : file_(file), capacity_(std::max<u64>(16, cache_bytes >> file.geometry().cluster_bits)) {}

Result<void> Tables::load() {
    const Header& header = file_.header;
    std::vector<u8> bytes(u64{header.l1_size} * 8);
    if (const int code = file_.read(header.l1_offset, bytes))
        return error("'{}' cannot be read ({})", file_.image().name(), std::strerror(code));
    l1_.resize(header.l1_size);
    first_clusters_.clear();
    for (u32 i = 0; i < l1_.size(); ++i) {
        const u64 entry = load64(bytes, i);
        const u64 offset = entry & entry_offset_mask;
        if ((entry & l1_reserved_mask) != 0 || geometry().in_cluster(offset) != 0 || offset >= file_.size()
            || (offset == 0 && entry != 0))
            return error("'{}' is a damaged qcow2 image: entry {} of its L1 table, {:#x}, is wrong; try "
                         "qemu-img check -r all",
                         file_.image().name(), i, entry);
        l1_[i] = entry;
        if (offset != 0) first_clusters_.push_back(offset >> geometry().cluster_bits);
    }
    std::sort(first_clusters_.begin(), first_clusters_.end());
    const auto twice = std::adjacent_find(first_clusters_.begin(), first_clusters_.end());
    if (twice != first_clusters_.end())
        return error("'{}' is a damaged qcow2 image: two entries of its L1 table name the L2 table at {:#x}; try "
                     "qemu-img check -r all",
                     file_.image().name(), *twice << geometry().cluster_bits);
    l1_dirty_.assign((l1_.size() + l1_dirty_entries - 1) / l1_dirty_entries, false);
    is_l1_dirty_ = false;
    return {};
}

Result<void> Tables::reload() {
    cache_.clear();
    cached_.clear();
    more_clusters_.clear();
    dropped_clusters_.clear();
    return load();
}

bool Tables::owns(u64 cluster) const {
    const u64 l1_first = file_.header.l1_offset >> geometry().cluster_bits;
    if (cluster - l1_first < geometry().clusters(u64{file_.header.l1_size} * 8)) return true;
    return more_clusters_.contains(cluster)
           || (std::binary_search(first_clusters_.begin(), first_clusters_.end(), cluster)
               && !dropped_clusters_.contains(cluster));
}

void Tables::set_l1(u32 index, u64 entry) {
    const u64 old = (l1_[index] & entry_offset_mask) >> geometry().cluster_bits;
    if (old != 0 && more_clusters_.erase(old) == 0) dropped_clusters_.insert(old);
    more_clusters_.insert((entry & entry_offset_mask) >> geometry().cluster_bits);
    l1_[index] = entry;
    l1_dirty_[index / l1_dirty_entries] = true;
    is_l1_dirty_ = true;
}

Tables::Cache::iterator Tables::insert(u32 index) {
    Table& table = cache_.emplace_front();
    table.index = index;
    table.bytes.resize(geometry().cluster_size());
    table.dirty.resize(std::max<u64>(1, geometry().cluster_size() / Table::dirty_unit));
    cached_[index] = cache_.begin();
    return cache_.begin();
}

int Tables::make_room() {
    if (cache_.size() < capacity_) return 0;
    int tries = eviction_tries;
    for (auto at = std::prev(cache_.end()); at != cache_.begin() && tries > 0; --at, --tries) {
        if (at->is_dirty || at->writing != 0 || !at->ready) continue;
        cached_.erase(at->index);
        cache_.erase(at);
        return 0;
    }
    return no_room;
}

int Tables::find(std::unique_lock<std::mutex>& lock, u32 index, Table*& table) {
    table = nullptr;
    for (;;) {
        if (l1_[index] == 0) return 0;
        const auto found = cached_.find(index);
        if (found == cached_.end()) break;
        if (found->second->ready) {
            cache_.splice(cache_.begin(), cache_, found->second);
            table = &cache_.front();
            return 0;
        }
        loaded_.wait(lock);
    }
    if (const int error = make_room()) return error;
    const auto entry = insert(index);
    const u64 offset = l1_[index] & entry_offset_mask;
    lock.unlock();
    const int error = file_.read(offset, entry->bytes);
    lock.lock();
    loaded_.notify_all();
    if (error != 0) {
        cached_.erase(index);
        cache_.erase(entry);
        return error;
    }
    entry->ready = true;
    table = &*entry;
    return 0;
}

int Tables::attach_new(u32 index, u64 cluster, Table*& table) {
    if (const int error = make_room()) return error;
    table = &*insert(index);
    table->ready = table->checked = true;
    move(*table, cluster);
    return 0;
}

void Tables::move(Table& table, u64 cluster) {
    table.detached = true;
    table.is_dirty = true;
    set_l1(table.index, cluster << geometry().cluster_bits | entry_copied);
}

void Tables::collect(Batch& batch) {
    for (Table& table : cache_) {
        if (!table.is_dirty) continue;
        const u64 offset = l1_[table.index] & entry_offset_mask;
        if (table.detached) {
            batch.detached.push_back({offset, table.bytes});
        } else {
            for (u64 unit = 0; unit < table.dirty.size(); ++unit) {
                if (!table.dirty[unit]) continue;
                u64 end = unit + 1;
                while (end < table.dirty.size() && table.dirty[end])
                    ++end;
                const u64 first = unit * Table::dirty_unit;
                const u64 last = std::min<u64>(end * Table::dirty_unit, table.bytes.size());
                batch.attached.push_back({offset + first,
                                          {table.bytes.begin() + static_cast<std::ptrdiff_t>(first),
                                           table.bytes.begin() + static_cast<std::ptrdiff_t>(last)}});
                unit = end;
            }
        }
        if (table.detached) batch.attached_indices.push_back(table.index);
        batch.tables.push_back(&table);
        ++table.writing;
        table.is_dirty = false;
        std::fill(table.dirty.begin(), table.dirty.end(), false);
    }
    for (u64 unit = 0; is_l1_dirty_ && unit < l1_dirty_.size(); ++unit) {
        if (!l1_dirty_[unit]) continue;
        const u64 first = unit * l1_dirty_entries;
        const u64 count = std::min<u64>(l1_dirty_entries, l1_.size() - first);
        Batch::Piece piece{file_.header.l1_offset + first * 8, std::vector<u8>(count * 8)};
        for (u64 i = 0; i < count; ++i)
            store64(piece.bytes, i, l1_[first + i]);
        batch.attached.push_back(std::move(piece));
        batch.l1_units.push_back(unit);
        l1_dirty_[unit] = false;
    }
    is_l1_dirty_ = false;
}

void Tables::finish(const Batch& batch, bool written) {
    for (Table* const table : batch.tables) {
        --table->writing;
        if (written) continue;
        table->is_dirty = true; // What exactly is dirty was forgotten: all of it.
        std::fill(table->dirty.begin(), table->dirty.end(), true);
    }
    for (const u64 unit : batch.l1_units)
        if (!written) l1_dirty_[unit] = is_l1_dirty_ = true;
    if (written)
        for (const u32 index : batch.attached_indices)
            cached_[index]->detached = false;
}

} // namespace calque::backends::qcow2
