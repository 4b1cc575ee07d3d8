#include "frontend/backends/block/qcow2_create.h"

#include "frontend/backends/block/qcow2_header.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace calque::backends {

using namespace qcow2;

namespace {

Result<Header> plan(const Qcow2CreateOptions& options) {
    Header header;
    if (options.version != 2 && options.version != 3)
        return error("qcow2 has versions 2 (compat=0.10) and 3 (compat=1.1), not {}", options.version);
    if (!std::has_single_bit(options.cluster_size) || options.cluster_size < 512 || options.cluster_size > 2 << 20)
        return error("a cluster size of {} bytes: 512 bytes to 2 MiB are possible, a power of two",
                     options.cluster_size);
    if (!std::has_single_bit(options.refcount_bits) || options.refcount_bits > 64)
        return error("refcounts of {} bits: 1 to 64 bits are possible, a power of two", options.refcount_bits);
    if (options.version == 2 && (options.refcount_bits != 16 || options.lazy_refcounts))
        return error("qcow2 version 2 (compat=0.10) has refcounts of 16 bits, not lazy; use version 3 (compat=1.1)");
    header.version = options.version;
    header.geometry.cluster_bits = static_cast<unsigned>(std::countr_zero(options.cluster_size));
    header.geometry.refcount_order = static_cast<unsigned>(std::countr_zero(options.refcount_bits));
    header.size = options.size;
    header.backing_name = options.backing_name;
    header.backing_format = options.backing_name.empty() ? "" : options.backing_format;
    if (options.lazy_refcounts) header.compatible |= compatible::lazy_refcounts;
    if (options.size > static_cast<u64>(INT64_MAX)
        || std::max<u64>(1, header.geometry.l1_entries(options.size)) > max_l1_bytes / 8)
        return error("a disk of {} bytes is too large for clusters of {} bytes", options.size, options.cluster_size);
    header.l1_size = static_cast<u32>(std::max<u64>(1, header.geometry.l1_entries(options.size)));
    return header;
}

} // namespace

// In this order: the header's cluster, the refcount table, the refcount blocks, the L1 table.
Result<void> create_qcow2(BlockImage& file, const Qcow2CreateOptions& options) {
    auto planned = plan(options);
    if (!planned) return planned.error();
    Header& header = *planned;
    const Geometry& geometry = header.geometry;
    const u64 cluster_size = geometry.cluster_size();
    const u64 l1_clusters = geometry.clusters(u64{header.l1_size} * 8);
    u64 blocks = 1, table_clusters = 1, total = 0;
    for (;;) { // Each more counts itself too.
        total = 1 + table_clusters + blocks + l1_clusters;
        if (blocks << geometry.refcounts_per_block_bits() < total)
            ++blocks;
        else if (table_clusters * cluster_size / 8 < blocks)
            ++table_clusters;
        else
            break;
    }
    header.refcount_offset = cluster_size;
    header.refcount_clusters = static_cast<u32>(table_clusters);
    header.l1_offset = (1 + table_clusters + blocks) * cluster_size;
    const auto first = encode_header(header);
    if (!first) return first.error();

    std::vector<u8> table(table_clusters * cluster_size);
    std::vector<u8> counts(blocks * cluster_size);
    for (u64 i = 0; i < blocks; ++i)
        store64(table, i, (1 + table_clusters + i) * cluster_size);
    for (u64 i = 0; i < total; ++i) {
        const unsigned order = geometry.refcount_order;
        if (order < 3) // Bits from the lowest up; wider counts are big-endian.
            counts[i << order >> 3] |= static_cast<u8>(1u << ((i << order) & 7));
        else
            counts[((i + 1) << order >> 3) - 1] = 1;
    }
    const auto put = [&](u64 offset, const std::vector<u8>& bytes) { return file.write(offset, bytes); };
    int code = file.resize(0);
    if (code == ENOTSUP)
        code = file.size() < total * cluster_size ? ENOSPC : 0; // A block device.
    else if (code == 0)
        code = file.resize(total * cluster_size);
    if (code == 0) code = put(cluster_size, table);
    if (code == 0) code = put((1 + table_clusters) * cluster_size, counts);
    if (code == 0) code = put(header.l1_offset, std::vector<u8>(l1_clusters * cluster_size));
    if (code == 0) code = file.flush();
    if (code == 0) code = put(0, *first); // From here on it is an image.
    if (code == 0) code = file.flush();
    if (code != 0) return error("'{}' cannot be written ({})", file.name(), std::strerror(code));
    return {};
}

} // namespace calque::backends
