// Taking, applying and deleting internal snapshots. Each happens while nothing else does. The order of the writes is
// such that counts are too high rather than too low, and COPIED flags clear rather than set, whenever it ends early.
#include "frontend/backends/block/qcow2_requests.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace calque::backends {

using namespace qcow2;

namespace {

std::string next_id(const std::vector<Snapshot>& list) {
    u64 highest = 0;
    for (const Snapshot& snapshot : list) {
        u64 id = 0;
        std::from_chars(snapshot.id.data(), snapshot.id.data() + snapshot.id.size(), id);
        highest = std::max(highest, id);
    }
    return std::to_string(highest + 1);
}

} // namespace

Error Qcow2Image::snapshot_error(const char* what, int code) const {
    return error("'{}': the snapshot could not be {} ({})", name_, what, std::strerror(code));
}

Result<std::vector<Snapshot>> Qcow2Image::snapshots() {
    const Exclusive exclusive(*this);
    return read_snapshots(file_);
}

// All that waits is written and freed; the tables in memory can be forgotten.
int Qcow2Image::begin_edit() {
    if (options_.read_only) return EROFS;
    if (const int error = commit_and_settle()) return error;
    Lock lock(mutex_);
    generations_.advance();
    apply_frees(lock);
    return begin_changes(lock);
}

// Writes a new snapshot table and lets the header name it; the old one is free then.
int Qcow2Image::write_snapshots(const std::vector<Snapshot>& list) {
    const std::vector<u8> bytes = encode_snapshots(list);
    const bool had_table = file_.header.snapshot_count != 0;
    const Refcounts::Run old = had_table ? snapshot_places_.front() : Refcounts::Run{};
    u64 first = 0;
    if (!bytes.empty()) {
        if (const int error = refcounts_.allocate_together(geometry().clusters(bytes.size()), first)) return error;
        if (const int error = file_.write(first << geometry().cluster_bits, bytes)) return error;
    }
    if (const int error = refcounts_.write_back()) return error;
    if (const int error = file_.flush()) return error;
    std::array<u8, 12> place; // The number and the offset are neighbours.
    store(place.data(), static_cast<u32>(list.size()));
    store(place.data() + 4, first << geometry().cluster_bits);
    if (const int error = file_.write_header_field(field::snapshot_count, place)) return error;
    if (const int error = file_.flush()) return error;
    file_.header.snapshot_count = static_cast<u32>(list.size());
    file_.header.snapshots_offset = first << geometry().cluster_bits;
    const auto written = read_snapshots(file_);
    if (!written) return EIO;
    snapshot_places_ = snapshot_places(file_, *written);
    return refcounts_.change(old.first, old.count, -1);
}

// Sets the COPIED flags of the L1 table and its L2 tables to what the refcounts say, or clears them all.
int Qcow2Image::update_copied(std::vector<u64>& l1, u64 l1_offset, bool clear) {
    const auto wanted = [&](u64 entry, u64& result) {
        u64 count = 0;
        const u64 place = entry & entry_offset_mask;
        if (!clear && place != 0)
            if (const int error = refcounts_.get(place >> geometry().cluster_bits, count)) return error;
        result = (entry & ~entry_copied) | (count == 1 ? entry_copied : 0);
        return 0;
    };
    std::vector<u8> table(geometry().cluster_size());
    std::vector<u8> l1_bytes(l1.size() * 8);
    for (std::size_t i = 0; i < l1.size(); ++i) {
        if (const int error = wanted(l1[i], l1[i])) return error;
        store64(l1_bytes, i, l1[i]);
        if (l1[i] == 0) continue;
        const u64 place = l1[i] & entry_offset_mask;
        if (const int error = file_.read(place, table)) return error;
        bool changed = false;
        for (u64 entry = 0; entry < geometry().l2_entries(); ++entry) {
            const u64 before = load64(table, entry);
            u64 after = before;
            if ((before & entry_compressed) == 0)
                if (const int error = wanted(before, after)) return error;
            changed |= after != before;
            store64(table, entry, after);
        }
        if (changed)
            if (const int error = file_.write(place, table)) return error;
    }
    if (l1_offset != 0 && !l1.empty())
        if (const int error = file_.write(l1_offset, l1_bytes)) return error;
    return file_.flush();
}

// Adds to the counts of all that the L1 table refers to.
int Qcow2Image::count_references(const std::vector<u64>& l1, i64 delta) {
    return visit_references(file_, l1, [&](u64 first, u64 count) { return refcounts_.change(first, count, delta); });
}

int Qcow2Image::room_in_counts(const std::vector<u64>& l1) {
    return visit_references(file_, l1, [&](u64 first, u64 count) {
        for (u64 cluster = first; cluster < first + count; ++cluster) {
            bool full;
            if (const int error = refcounts_.is_full(cluster, full)) return error;
            if (full) return EOVERFLOW;
        }
        return 0;
    });
}

// The machine's state lies behind the disk's end, in L2 tables of its own that only the snapshot has: what the active
// table may have there (from programs that leave it) is not the new snapshot's.
int Qcow2Image::take_snapshot(std::vector<Snapshot>& list, Snapshot snapshot, StateDraft* state) {
    std::vector<u64> active = tables_.l1();
    std::vector<u64> l1 = active;
    std::vector<u64> state_tables;
    if (state) {
        l1.resize(geometry().l1_entries(file_.header.size));
        if (const int error = write_state_tables(*state, state_tables)) return error;
    }
    if (const int error = room_in_counts(l1)) return error;
    const std::vector<u64> counted = l1;
    l1.insert(l1.end(), state_tables.begin(), state_tables.end());
    std::vector<u8> bytes(std::max<u64>(8, l1.size() * 8));
    u64 first;
    if (const int error = refcounts_.allocate_together(geometry().clusters(bytes.size()), first)) return error;
    if (const int error = update_copied(active, file_.header.l1_offset, true)) return error;
    for (std::size_t i = 0; i < l1.size(); ++i)
        store64(bytes, i, l1[i] & ~entry_copied);
    if (const int error = file_.write(first << geometry().cluster_bits, bytes)) return error;
    if (const int error = count_references(counted, 1)) return error;
    snapshot.l1_offset = first << geometry().cluster_bits;
    snapshot.l1_size = static_cast<u32>(l1.size());
    list.push_back(std::move(snapshot));
    if (const int error = write_snapshots(list)) return error;
    return active.size() > counted.size() ? update_copied(active, file_.header.l1_offset, false) : 0;
}

// After each edit, whether it went well or not: memory follows the file.
int Qcow2Image::end_edit(int error) {
    if (error == 0) error = refcounts_.write_back();
    if (error == 0) error = file_.flush();
    if (auto reloaded = tables_.reload(); !reloaded && error == 0) error = EIO;
    return error;
}

Result<void> Qcow2Image::create_snapshot(const NewSnapshot& about, StateDraft* state) {
    const auto give_up = [&](Error problem) {
        if (state) drop_state(*state);
        return problem;
    };
    if (about.name.empty() || about.name.size() > 1023) return give_up(error("a snapshot's name has 1 to 1023 bytes"));
    std::optional<Exclusive> exclusive(std::in_place, *this);
    const auto leave = [&](Error problem) {
        exclusive.reset();
        return give_up(std::move(problem));
    };
    if (const int code = begin_edit()) return leave(snapshot_error("taken", code));
    Lock lock(mutex_);
    auto list = read_snapshots(file_);
    if (!list || list->size() >= max_snapshots) {
        lock.unlock();
        return leave(list ? error("'{}' has {} snapshots already", name_, list->size()) : list.error());
    }
    Snapshot snapshot;
    snapshot.id = next_id(*list);
    snapshot.name = about.name;
    snapshot.seconds = static_cast<u32>(about.seconds);
    snapshot.nanoseconds = about.nanoseconds;
    snapshot.guest_nanoseconds = about.guest_nanoseconds;
    snapshot.disk_size = file_.header.size;
    snapshot.machine_bytes = state ? state->bytes : 0;
    const int code = end_edit(take_snapshot(*list, std::move(snapshot), state));
    if (state) *state = {}; // Where something failed the file may name them or not: then they stay counted.
    if (code == EOVERFLOW)
        return error("'{}' counts references in {} bits, too few for another snapshot", name_,
                     1u << geometry().refcount_order);
    if (code != 0) return snapshot_error("taken", code);
    return {};
}

// A new active L1 table, so that a break leaves the old one.
int Qcow2Image::switch_to(const Snapshot& snapshot) {
    std::vector<u64> l1;
    if (const int error = read_l1(file_, snapshot.l1_offset, snapshot.l1_size, l1)) return error;
    // The machine's state behind the disk's end stays the snapshot's own.
    l1.resize(std::min<u64>(l1.size(), geometry().l1_entries(snapshot.disk_size)));
    if (const int error = room_in_counts(l1)) return error;
    if (const int error = count_references(l1, 1)) return error;
    if (const int error = refcounts_.write_back()) return error;
    if (const int error = file_.flush()) return error;
    l1.resize(std::max<u64>({1, l1.size(), geometry().l1_entries(snapshot.disk_size)}));
    u64 first;
    if (const int error = refcounts_.allocate_together(geometry().clusters(l1.size() * 8), first)) return error;
    if (const int error = refcounts_.write_back()) return error;
    if (const int error = update_copied(l1, first << geometry().cluster_bits, true)) return error;
    std::array<u8, 24> fields{}; // The disk's size, no encryption, the L1 table's size and place: neighbours.
    store(fields.data(), snapshot.disk_size);
    store(fields.data() + 12, static_cast<u32>(l1.size()));
    store(fields.data() + 16, first << geometry().cluster_bits);
    if (const int error = file_.write_header_field(field::size, fields)) return error;
    if (const int error = file_.flush()) return error;
    const std::vector<u64> old = tables_.l1();
    const u64 old_first = file_.header.l1_offset >> geometry().cluster_bits;
    const u64 old_clusters = geometry().clusters(u64{file_.header.l1_size} * 8);
    file_.header.size = snapshot.disk_size;
    file_.header.l1_size = static_cast<u32>(l1.size());
    file_.header.l1_offset = first << geometry().cluster_bits;
    size_ = snapshot.disk_size;
    if (const int error = count_references(old, -1)) return error;
    if (const int error = refcounts_.change(old_first, old_clusters, -1)) return error;
    return update_copied(l1, file_.header.l1_offset, false);
}

Result<void> Qcow2Image::apply_snapshot(const std::string& id_or_name) {
    const Exclusive exclusive(*this);
    if (const int code = begin_edit()) return snapshot_error("applied", code);
    Lock lock(mutex_);
    auto list = read_snapshots(file_);
    if (!list) return list.error();
    const auto found = find_snapshot(*list, id_or_name);
    if (found == list->end()) return error("'{}' has no snapshot '{}'", name_, id_or_name);
    if (const int code = end_edit(switch_to(*found))) return snapshot_error("applied", code);
    return {};
}

int Qcow2Image::drop_snapshot(std::vector<Snapshot>& list, const std::string& id_or_name) {
    const auto found = find_snapshot(list, id_or_name);
    const Snapshot snapshot = *found;
    std::vector<u64> l1;
    if (const int error = read_l1(file_, snapshot.l1_offset, snapshot.l1_size, l1)) return error;
    list.erase(found);
    if (const int error = write_snapshots(list)) return error;
    if (const int error = count_references(l1, -1)) return error;
    const u64 clusters = geometry().clusters(std::max<u64>(8, u64{snapshot.l1_size} * 8));
    if (const int error = refcounts_.change(snapshot.l1_offset >> geometry().cluster_bits, clusters, -1)) return error;
    std::vector<u64> active = tables_.l1();
    return update_copied(active, file_.header.l1_offset, false);
}

Result<void> Qcow2Image::delete_snapshot(const std::string& id_or_name) {
    const Exclusive exclusive(*this);
    if (const int code = begin_edit()) return snapshot_error("deleted", code);
    Lock lock(mutex_);
    auto list = read_snapshots(file_);
    if (!list) return list.error();
    if (find_snapshot(*list, id_or_name) == list->end()) return error("'{}' has no snapshot '{}'", name_, id_or_name);
    if (const int code = end_edit(drop_snapshot(*list, id_or_name))) return snapshot_error("deleted", code);
    return {};
}

} // namespace calque::backends
