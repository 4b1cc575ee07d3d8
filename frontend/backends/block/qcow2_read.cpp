// Where the bytes of the disk are, and reading them.
#include "frontend/backends/block/qcow2_requests.h"

#include <algorithm>
#include <cerrno>

namespace calque::backends {

using namespace qcow2;

int Qcow2Image::find_table(Lock& lock, u32 index, Table*& table) {
    for (;;) {
        const int error = tables_.find(lock, index, table);
        if (error != Tables::no_room) return error;
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

int Qcow2Image::wrong_entry(u64 guest, u64 entry) {
    return file_.mark_corrupt(fmt::format("the L2 entry {:#x} of the cluster at {:#x} of the disk is wrong", entry,
                                          guest << geometry().cluster_bits));
}

Qcow2Image::Extent Qcow2Image::classify(u64 entry) const {
    Extent extent;
    if ((entry & entry_compressed) != 0) {
        extent.kind = Extent::Kind::compressed;
        extent.entry = entry;
    } else if ((entry & entry_zero) != 0) {
        extent.kind = Extent::Kind::zero;
    } else if ((entry & entry_offset_mask) != 0) {
        extent.kind = Extent::Kind::data;
        extent.host = entry & entry_offset_mask;
    }
    return extent;
}

int Qcow2Image::map(Lock& lock, u64 offset, u64 length, Extent& extent) {
    const u64 guest = offset >> geometry().cluster_bits;
    const u64 inside = geometry().in_cluster(offset);
    const u64 first = l2_index(guest);
    const u64 most = std::min(geometry().clusters(inside + length), geometry().l2_entries() - first);
    Table* table;
    if (const int error = find_table(lock, l1_index(guest), table)) return error;
    u64 count = most;
    if (!table) {
        extent = {};
    } else {
        const u64 entry = table->get(first);
        if (file_.is_wrong(entry)) return wrong_entry(guest, entry);
        extent = classify(entry);
        count = 1;
        while (count < most && extent.kind != Extent::Kind::compressed) {
            const u64 next = table->get(first + count);
            const Extent more = classify(next);
            if (more.kind != extent.kind || file_.is_wrong(next)) break;
            if (extent.kind == Extent::Kind::data && more.host != extent.host + (count << geometry().cluster_bits))
                break;
            ++count;
        }
        if (extent.kind == Extent::Kind::data) extent.host += inside;
    }
    extent.length = std::min(length, (count << geometry().cluster_bits) - inside);
    return 0;
}

// What the backing file does not reach is zeros.
int Qcow2Image::read_backing(u64 offset, std::span<u8> data) {
    const u64 size = backing_ ? backing_->size() : 0;
    const u64 there = offset >= size ? 0 : std::min<u64>(data.size(), size - offset);
    std::fill(data.begin() + static_cast<std::ptrdiff_t>(there), data.end(), u8{0});
    return there == 0 ? 0 : backing_->read(offset, data.first(there));
}

int Qcow2Image::read_extent(const Extent& extent, u64 offset, std::span<u8> data) {
    switch (extent.kind) {
    case Extent::Kind::data: return file_.read(extent.host, data);
    case Extent::Kind::compressed: return compressed_.read(extent.entry, geometry().in_cluster(offset), data);
    case Extent::Kind::unallocated: return read_backing(offset, data);
    case Extent::Kind::zero: std::fill(data.begin(), data.end(), u8{0}); return 0;
    }
    return EIO;
}

int Qcow2Image::read(u64 offset, std::span<u8> data) {
    if (const int error = check_request(offset, data.size(), false)) return error;
    const Request request(*this);
    while (!data.empty()) {
        Extent extent;
        {
            Lock lock(mutex_);
            if (const int error = map(lock, offset, data.size(), extent)) return error;
        }
        if (const int error = read_extent(extent, offset, data.first(extent.length))) return error;
        offset += extent.length;
        data = data.subspan(extent.length);
    }
    return 0;
}

int Qcow2Image::status(u64 offset, u64 length, Status& status) {
    if (const int error = check_request(offset, length, false)) return error;
    const Request request(*this);
    Extent extent;
    Lock lock(mutex_);
    if (const int error = map(lock, offset, length, extent)) return error;
    const bool unallocated = extent.kind == Extent::Kind::unallocated;
    status = {extent.length, !unallocated,
              extent.kind == Extent::Kind::zero || (unallocated && !backing_covers(offset))};
    return 0;
}

} // namespace calque::backends
