// A machine's state in a snapshot: behind the disk's end, as far as the snapshot's L1 table reaches (QEMU's qcow2.txt,
// "Snapshots": vm_state_size). It is written to clusters that nothing names before the snapshot does.
#include "frontend/backends/block/qcow2_requests.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace calque::backends {

using namespace qcow2;

Result<void> Qcow2Image::append_state(StateDraft& draft, std::span<const u8> bytes) {
    const auto failed = [&](int code) {
        return error("'{}': the machine's state cannot be written ({})", name_, std::strerror(code));
    };
    if (const int code = check_request(0, 0, true)) return failed(code);
    const Request request(*this);
    const u64 cluster = geometry().cluster_size();
    while (!bytes.empty()) {
        if (draft.bytes == draft.clusters.size() * cluster) {
            Lock lock(mutex_);
            Refcounts::Run run;
            if (const int code = begin_changes(lock)) return failed(code);
            if (const int code = refcounts_.allocate(geometry().clusters(bytes.size()), run)) return failed(code);
            for (u64 i = 0; i < run.count; ++i)
                draft.clusters.push_back(run.first + i);
        }
        const u64 index = draft.bytes / cluster, inside = draft.bytes % cluster;
        u64 together = 1;
        while (index + together < draft.clusters.size()
               && draft.clusters[index + together] == draft.clusters[index] + together)
            ++together;
        const u64 part = std::min<u64>(bytes.size(), together * cluster - inside);
        const u64 place = draft.clusters[index] * cluster + inside;
        if (const int code = file_.write(place, bytes.first(part))) return failed(code);
        draft.bytes += part;
        bytes = bytes.subspan(part);
    }
    return {};
}

void Qcow2Image::drop_state(StateDraft& draft) {
    const Request request(*this);
    Lock lock(mutex_);
    for (const u64 cluster : draft.clusters)
        if (refcounts_.change(cluster, 1, -1) != 0) break; // They stay counted, and nobody uses them.
    draft = {};
}

Result<void> Qcow2Image::flush_state() {
    const Request request(*this);
    if (const int code = file_.flush())
        return error("'{}': the machine's state cannot be written ({})", name_, std::strerror(code));
    return {};
}

// Appends the places of new L2 tables that name the clusters.
int Qcow2Image::write_state_tables(const StateDraft& draft, std::vector<u64>& l1) {
    const u64 per_table = geometry().l2_entries();
    std::vector<u8> table(geometry().cluster_size());
    for (u64 from = 0; from < draft.clusters.size(); from += per_table) {
        std::fill(table.begin(), table.end(), u8{0});
        const u64 count = std::min<u64>(per_table, draft.clusters.size() - from);
        for (u64 i = 0; i < count; ++i)
            store64(table, i, draft.clusters[from + i] << geometry().cluster_bits);
        Refcounts::Run run;
        if (const int error = refcounts_.allocate(1, run)) return error;
        if (const int error = file_.write(run.first << geometry().cluster_bits, table)) return error;
        l1.push_back(run.first << geometry().cluster_bits);
    }
    return 0;
}

Result<SavedState> Qcow2Image::find_state(const std::string& id_or_name) {
    const Exclusive exclusive(*this);
    const Lock lock(mutex_);
    auto list = read_snapshots(file_);
    if (!list) return list.error();
    const auto found = find_snapshot(*list, id_or_name);
    if (found == list->end()) return error("'{}' has no snapshot '{}'", name_, id_or_name);
    if (found->machine_bytes == 0)
        return error("the snapshot '{}' of '{}' is of the disk alone, without a machine", id_or_name, name_);
    const auto damaged = [&] { return error("'{}': the machine in snapshot '{}' is damaged", name_, id_or_name); };
    const u64 clusters = geometry().clusters(found->machine_bytes), per_table = geometry().l2_entries();
    const u64 tables = (clusters - 1) / per_table + 1, first = geometry().l1_entries(found->disk_size);
    if (found->l1_size < first || tables > found->l1_size - first || found->machine_bytes > file_.size())
        return damaged();
    std::vector<u64> l1;
    if (read_l1(file_, found->l1_offset, found->l1_size, l1) != 0) return damaged();
    SavedState state;
    state.bytes = found->machine_bytes;
    std::vector<u8> table(geometry().cluster_size());
    for (u64 i = 0; i < clusters; ++i) {
        const u64 place = l1[first + i / per_table] & entry_offset_mask;
        if (i % per_table == 0) std::fill(table.begin(), table.end(), u8{0});
        if (i % per_table == 0 && place != 0 && file_.read(place, table) != 0) return damaged();
        const u64 entry = load64(table, i % per_table);
        const u64 offset = (entry & entry_zero) != 0 ? 0 : entry & entry_offset_mask;
        if ((entry & entry_compressed) != 0 || geometry().in_cluster(offset) != 0 || offset >= file_.size())
            return damaged();
        state.clusters.push_back(offset);
    }
    return state;
}

int Qcow2Image::read_state(const SavedState& state, u64 offset, std::span<u8> bytes) {
    if (offset > state.bytes || bytes.size() > state.bytes - offset) return EINVAL;
    const Request request(*this);
    const u64 cluster = geometry().cluster_size();
    while (!bytes.empty()) {
        const u64 index = offset / cluster, inside = offset % cluster, place = state.clusters[index];
        u64 together = 1;
        while (place != 0 && together * cluster - inside < bytes.size()
               && state.clusters[index + together] == place + together * cluster)
            ++together;
        const u64 part = std::min<u64>(bytes.size(), together * cluster - inside);
        if (place == 0)
            std::fill_n(bytes.begin(), part, u8{0});
        else if (const int error = file_.read(place + inside, bytes.first(part)))
            return error;
        offset += part;
        bytes = bytes.subspan(part);
    }
    return 0;
}

} // namespace calque::backends
