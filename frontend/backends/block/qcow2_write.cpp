// Writing: in place where the cluster is ours alone, to a new place otherwise.
#include "frontend/backends/block/qcow2_requests.h"

#include <algorithm>
#include <cerrno>

namespace calque::backends {

using namespace qcow2;

namespace {

bool is_in_place(u64 entry) { return (entry & (entry_compressed | entry_copied | entry_zero)) == entry_copied; }

// Zeros, with a place that is kept for it.
bool is_kept(u64 entry) {
    return (entry & (entry_compressed | entry_copied | entry_zero)) == (entry_copied | entry_zero)
           && (entry & entry_offset_mask) != 0;
}

} // namespace

// Compares a table with the refcounts, before something is written by what it says: a place that is also something
// else's would be damaged.
int Qcow2Image::check_table(Table& table) {
    const u64 place = (tables_.l1_entry(table.index) & entry_offset_mask) >> geometry().cluster_bits;
    u64 count = 0;
    if (const int error = refcounts_.get(place, count)) return error;
    if (count == 0 || ((tables_.l1_entry(table.index) & entry_copied) != 0 && count != 1))
        return file_.mark_corrupt(
            fmt::format("the L2 table at {:#x} has a refcount of {}", place << geometry().cluster_bits, count));
    for (u64 i = 0; i < geometry().l2_entries(); ++i) {
        const u64 entry = table.get(i);
        if (entry == 0) continue;
        const u64 guest = (u64{table.index} << geometry().l2_bits()) + i;
        if (file_.is_wrong(entry)) return wrong_entry(guest, entry);
        const Refcounts::Run run = clusters_of(entry);
        for (u64 cluster = run.first; cluster < run.first + run.count; ++cluster) {
            if (const int error = refcounts_.get(cluster, count)) return error;
            if (count == 0 || ((entry & entry_copied) != 0 && count != 1) || owns(cluster) || refcounts_.owns(cluster))
                return wrong_entry(guest, entry);
        }
    }
    table.checked = true;
    return 0;
}

// The table, ours alone, made if there is none.
int Qcow2Image::find_table_to_change(Lock& lock, u32 index, Table*& table) {
    for (;;) {
        if (const int error = begin_changes(lock)) return error;
        if (const int error = find_table(lock, index, table)) return error;
        if (table && !table->checked)
            if (const int error = check_table(*table)) return error;
        const u64 entry = tables_.l1_entry(index);
        if (table && (entry & entry_copied) != 0) return 0;
        Refcounts::Run run;
        if (const int error = refcounts_.allocate(1, run)) return error;
        if (table) {
            tables_.move(*table, run.first);
            frees_.add((entry & entry_offset_mask) >> geometry().cluster_bits, 1, false);
            return 0;
        }
        const int error = tables_.attach_new(index, run.first, table);
        if (error != Tables::no_room) return error;
        if (const int failed = refcounts_.change(run.first, 1, -1)) return failed;
        lock.unlock();
        int failed;
        {
            Lock commits(commit_mutex_);
            failed = commit();
        }
        lock.lock();
        if (failed != 0) return failed;
    }
}

bool Qcow2Image::is_moving(u64 first, u64 count) const {
    return std::any_of(moving_.begin(), moving_.end(), [&](const std::pair<u64, u64>& run) {
        return run.first < first + count && first < run.first + run.second;
    });
}

void Qcow2Image::wait_until_still(Lock& lock, u64 first, u64 count) {
    changed_.wait(lock, [&] { return !is_moving(first, count); });
}

// The clusters of the file that an L2 entry refers to.
Refcounts::Run Qcow2Image::clusters_of(u64 entry) const {
    if ((entry & entry_compressed) == 0) {
        const u64 cluster = (entry & entry_offset_mask) >> geometry().cluster_bits;
        return {cluster, cluster != 0 ? u64{1} : u64{0}};
    }
    const CompressedPlace place = compressed_place(entry, geometry());
    const u64 first = place.offset >> geometry().cluster_bits;
    const u64 last = (place.offset + place.length - 1) >> geometry().cluster_bits;
    return {first, last - first + 1};
}

void Qcow2Image::release(u64 entry, bool unmap) {
    const Refcounts::Run run = clusters_of(entry);
    if (run.count != 0) frees_.add(run.first, run.count, unmap);
}

int Qcow2Image::begin_move(Lock&, u64 guest, u64 most, Table* table, Move& move) {
    const u64 first = l2_index(guest);
    const u64 entry = table->get(first);
    move.guest = guest;
    move.first_old = entry;
    if (is_kept(entry)) {
        move.count = 1;
        move.host = (entry & entry_offset_mask) >> geometry().cluster_bits;
        move.reused = true;
    } else {
        u64 count = 1;
        for (; count < most; ++count) {
            const u64 next = table->get(first + count);
            if (is_in_place(next) || is_kept(next) || is_moving(guest + count, 1)) break;
        }
        Refcounts::Run run;
        if (const int error = refcounts_.allocate(count, run)) return error;
        move.count = run.count;
        move.host = run.first;
        move.zeros = run.zeros;
    }
    move.last_old = table->get(first + move.count - 1);
    moving_.emplace_back(guest, move.count);
    return 0;
}

// The data is there (or failed to get there): names the new place.
int Qcow2Image::end_move(Lock& lock, const Move& move, int error) {
    Table* table = nullptr;
    if (error == 0) error = find_table_to_change(lock, l1_index(move.guest), table);
    if (error == 0) {
        for (u64 i = 0; i < move.count; ++i) {
            const u64 index = l2_index(move.guest) + i;
            if (!move.reused) release(table->get(index), false);
            table->set(index, (move.host + i) << geometry().cluster_bits | entry_copied);
        }
    } else if (!move.reused) {
        refcounts_.change(move.host, move.count, -1);
    }
    std::erase(moving_, std::pair(move.guest, move.count));
    changed_.notify_all();
    return error;
}

// What the first and the last cluster had around the data must come along, unless it is zeros and zeros are there.
int Qcow2Image::write_moved(const Move& move, u64 offset, std::span<const u8> data) {
    const u64 place = move.host << geometry().cluster_bits;
    const u64 head = geometry().in_cluster(offset);
    const u64 tail = (move.count << geometry().cluster_bits) - head - data.size();
    const auto is_zeros = [&](u64 entry, u64 guest) {
        const Extent::Kind kind = classify(entry).kind;
        return move.zeros
               && (kind == Extent::Kind::zero
                   || (kind == Extent::Kind::unallocated && !backing_covers(guest << geometry().cluster_bits)));
    };
    const u64 fill_head = is_zeros(move.first_old, move.guest) ? 0 : head;
    const u64 fill_tail = is_zeros(move.last_old, move.guest + move.count - 1) ? 0 : tail;
    if (fill_head == 0 && fill_tail == 0) return file_.write(place + head, data);
    return fill_around(move, offset, data, fill_head, fill_tail);
}

int Qcow2Image::fill_around(const Move& move, u64 offset, std::span<const u8> data, u64 head, u64 tail) {
    const u64 place = (move.host << geometry().cluster_bits) + geometry().in_cluster(offset);
    const u64 end = offset + data.size();
    const auto old_bytes = [&](u64 entry, u64 from, std::span<u8> bytes) {
        Extent extent = classify(entry);
        extent.host += geometry().in_cluster(from);
        return bytes.empty() ? 0 : read_extent(extent, from, bytes);
    };
    std::vector<u8> before(head);
    std::vector<u8> after(tail);
    if (const int error = old_bytes(move.first_old, offset - head, before)) return error;
    if (const int error = old_bytes(move.last_old, end, after)) return error;
    if (move.count == 1) { // One write is quicker than three.
        before.insert(before.end(), data.begin(), data.end());
        before.insert(before.end(), after.begin(), after.end());
        return file_.write(place - head, before);
    }
    if (head != 0)
        if (const int error = file_.write(place - head, before)) return error;
    if (const int error = file_.write(place, data)) return error;
    return tail != 0 ? file_.write(place + data.size(), after) : 0;
}

int Qcow2Image::write_some(u64 offset, std::span<const u8> data, u64& done) {
    const u64 guest = offset >> geometry().cluster_bits;
    const u64 inside = geometry().in_cluster(offset);
    Lock lock(mutex_);
    Table* table = nullptr;
    do {
        wait_until_still(lock, guest, 1);
        if (const int error = find_table_to_change(lock, l1_index(guest), table)) return error;
    } while (is_moving(guest, 1)); // The lock may have been let go.
    const u64 first = l2_index(guest);
    const u64 most = std::min(geometry().clusters(inside + data.size()), geometry().l2_entries() - first);
    const auto bytes_of = [&](u64 clusters) {
        return std::min<u64>(data.size(), (clusters << geometry().cluster_bits) - inside);
    };
    const u64 entry = table->get(first);
    if (is_in_place(entry)) {
        const u64 host = entry & entry_offset_mask;
        u64 count = 1;
        while (count < most && table->get(first + count) == entry + (count << geometry().cluster_bits)
               && !is_moving(guest + count, 1))
            ++count;
        lock.unlock();
        done = bytes_of(count);
        return file_.write(host + inside, data.first(done));
    }
    Move move;
    if (const int error = begin_move(lock, guest, most, table, move)) return error;
    lock.unlock();
    done = bytes_of(move.count);
    const int error = write_moved(move, offset, data.first(done));
    lock.lock();
    return end_move(lock, move, error);
}

int Qcow2Image::write(u64 offset, std::span<const u8> data) {
    if (const int error = check_request(offset, data.size(), true)) return error;
    {
        const Request request(*this);
        while (!data.empty()) {
            u64 done = 0;
            if (const int error = write_some(offset, data, done)) return error;
            offset += done;
            data = data.subspan(done);
        }
    }
    return finish_change(0);
}

// Zeros for what is not a whole cluster, where it does not read as zeros already.
int Qcow2Image::write_zero_bytes(u64 offset, u64 length) {
    const Request request(*this);
    while (length != 0) {
        Extent extent;
        {
            Lock lock(mutex_);
            wait_until_still(lock, offset >> geometry().cluster_bits, 1);
            if (const int error = map(lock, offset, length, extent)) return error;
        }
        u64 done = extent.length;
        const bool there =
            extent.kind != Extent::Kind::zero && (extent.kind != Extent::Kind::unallocated || backing_covers(offset));
        if (there) {
            const std::vector<u8> zeros(std::min<u64>(extent.length, geometry().cluster_size()));
            if (const int error = write_some(offset, zeros, done)) return error;
        }
        offset += done;
        length -= done;
    }
    return 0;
}

} // namespace calque::backends
