// Discarding, and writing zeros without writing them.
#include "frontend/backends/block/qcow2_requests.h"

#include <algorithm>
#include <cerrno>

namespace calque::backends {

using namespace qcow2;

// Whole clusters, as far as one table goes. `done` is how many; a cluster that cannot be told to be zeros ends it, and
// is `left_to_write`.
int Qcow2Image::zero_clusters(Lock& lock, u64 first, u64 count, const Zeroing& how, u64& done) {
    const u64 index = l2_index(first);
    count = std::min(count, geometry().l2_entries() - index);
    done = 0;
    if (tables_.l1_entry(l1_index(first)) == 0 && (how.discard || !backing_covers(first << geometry().cluster_bits))) {
        done = count;
        return 0;
    }
    Table* table = nullptr;
    do {
        wait_until_still(lock, first, 1);
        if (const int error = find_table_to_change(lock, l1_index(first), table)) return error;
    } while (is_moving(first, 1));
    const bool has_zero_flag = file_.header.version >= 3;
    for (; done < count && !is_moving(first + done, 1); ++done) {
        const u64 entry = table->get(index + done);
        const Extent::Kind kind = classify(entry).kind;
        const bool covered = backing_covers((first + done) << geometry().cluster_bits);
        if (kind == Extent::Kind::zero && (entry & entry_offset_mask) == 0) continue;
        if (kind == Extent::Kind::unallocated && (how.discard || !covered)) continue;
        if (covered && !has_zero_flag) {
            if (how.discard) continue;
            return left_to_write;
        }
        if (has_zero_flag && !how.unmap && (entry & entry_copied) != 0) { // The place is kept.
            if (kind != Extent::Kind::zero) table->set(index + done, entry | entry_zero);
            continue;
        }
        table->set(index + done, covered ? entry_zero : 0);
        release(entry, how.unmap);
    }
    return 0;
}

int Qcow2Image::zero_range(u64 offset, u64 length, const Zeroing& how) {
    const u64 end = offset + length;
    const u64 cluster_size = geometry().cluster_size();
    const u64 first = std::min(end, align_up(offset, cluster_size));
    // What the last cluster has behind the disk's end belongs to nobody.
    const u64 last =
        end == size_ ? std::max(first, align_up(end, cluster_size)) : std::max(first, align_down(end, cluster_size));
    if (!how.discard)
        if (const int error = write_zero_bytes(offset, first - offset)) return error;
    for (u64 at = first >> geometry().cluster_bits, left = (last - first) >> geometry().cluster_bits; left != 0;) {
        u64 done = 0;
        int error;
        bool many;
        {
            const Request request(*this);
            Lock lock(mutex_);
            error = zero_clusters(lock, at, left, how, done);
            many = frees_.many();
        }
        at += done;
        left -= done;
        if (error == left_to_write) {
            error = write_zero_bytes(at << geometry().cluster_bits,
                                     std::min(cluster_size, end - (at << geometry().cluster_bits)));
            ++at;
            --left;
        }
        if (error == 0 && many) {
            Lock commits(commit_mutex_);
            error = commit_and_settle();
        }
        if (error != 0) return error;
    }
    if (how.discard || last >= end) return 0;
    return write_zero_bytes(last, end - last);
}

int Qcow2Image::discard(u64 offset, u64 length) {
    if (const int error = check_request(offset, length, true)) return error;
    return finish_change(zero_range(offset, length, {.discard = true, .unmap = true}));
}

int Qcow2Image::write_zeroes(u64 offset, u64 length, bool may_unmap) {
    if (const int error = check_request(offset, length, true)) return error;
    return finish_change(zero_range(offset, length, {.discard = false, .unmap = may_unmap}));
}

} // namespace calque::backends
