// What stands where in a qcow2 file: numbers, big-endian access, entries of the tables. The format is described in
// "Qcow2 Image File Format" (docs/interop/qcow2 of the QEMU project); its names are used here.
#pragma once

#include "base/bits.h"
#include "base/types.h"

#include <concepts>
#include <cstddef>
#include <span>

namespace calque::backends::qcow2 {

// Big-endian numbers of any width, not aligned.
template <std::unsigned_integral T> T load(const u8* from) {
    u64 value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i)
        value = value << 8 | from[i];
    return static_cast<T>(value);
}
template <std::unsigned_integral T> void store(u8* to, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        to[i] = static_cast<u8>(value >> (8 * (sizeof(T) - 1 - i)));
}
inline u64 load64(std::span<const u8> table, u64 index) { return load<u64>(table.data() + 8 * index); }
inline void store64(std::span<u8> table, u64 index, u64 value) { store<u64>(table.data() + 8 * index, value); }

inline constexpr u32 magic = 0x514649fb; // "QFI\xfb"
inline constexpr unsigned min_cluster_bits = 9;
inline constexpr unsigned max_cluster_bits = 21;

// Where the header's fields are, in bytes from the file's start.
namespace field {
inline constexpr u64 version = 4, backing_offset = 8, backing_length = 16, cluster_bits = 20, size = 24,
                     crypt_method = 32, l1_size = 36, l1_offset = 40, refcount_offset = 48, refcount_clusters = 56,
                     snapshot_count = 60, snapshots_offset = 64;
inline constexpr u64 end_of_v2 = 72;
inline constexpr u64 incompatible = 72, compatible = 80, autoclear = 88, refcount_order = 96, header_length = 100;
inline constexpr u64 end_of_v3 = 104;
inline constexpr u64 compression_type = 104;
} // namespace field

namespace incompatible {
inline constexpr u64 dirty = 1, corrupt = 2, data_file = 4, compression = 8, subclusters = 16;
}
namespace compatible {
inline constexpr u64 lazy_refcounts = 1;
}

namespace extension {
inline constexpr u32 end = 0, backing_format = 0xe2792aca, feature_names = 0x6803f857, bitmaps = 0x23852875,
                     encryption = 0x0537be77, data_file = 0x44415441;
}

// Entries of L1 and L2 tables.
inline constexpr u64 entry_copied = u64{1} << 63; // The refcount of what it points to is 1.
inline constexpr u64 entry_compressed = u64{1} << 62;
inline constexpr u64 entry_zero = 1;
inline constexpr u64 entry_offset_mask = 0x00ff'ffff'ffff'fe00;
inline constexpr u64 entry_reserved_mask = 0x3f00'0000'0000'01fe; // Of a standard L2 entry; bit 0 is `entry_zero`.
inline constexpr u64 l1_reserved_mask = 0x7f00'0000'0000'01ff;
inline constexpr u64 refcount_table_reserved_mask = 0x1ff;

// Sizes that follow from the header.
struct Geometry {
    unsigned cluster_bits = 16;
    unsigned refcount_order = 4;

    u64 cluster_size() const { return u64{1} << cluster_bits; }
    u64 in_cluster(u64 offset) const { return offset & (cluster_size() - 1); }
    u64 clusters(u64 bytes) const { return (bytes >> cluster_bits) + (in_cluster(bytes) != 0); }
    unsigned l2_bits() const { return cluster_bits - 3; } // Entries of an L2 table, as a power of two.
    u64 l2_entries() const { return u64{1} << l2_bits(); }
    u64 l1_entries(u64 size) const {
        const u64 count = clusters(size);
        return (count >> l2_bits()) + ((count & (l2_entries() - 1)) != 0);
    }
    unsigned refcounts_per_block_bits() const { return cluster_bits + 3 - refcount_order; }
    u64 refcounts_per_block() const { return u64{1} << refcounts_per_block_bits(); }
    u64 max_refcount() const { return low_mask(1u << refcount_order); }
};

// Where the bytes of a compressed cluster are in the file.
struct CompressedPlace {
    u64 offset = 0;
    u64 length = 0; // As much as there can be; the data ends when a cluster has been made.
};
inline CompressedPlace compressed_place(u64 entry, const Geometry& geometry) {
    const unsigned offset_bits = 62 - (geometry.cluster_bits - 8);
    const u64 offset = bits(entry, 0, offset_bits);
    const u64 more_sectors = bits(entry, offset_bits, 62 - offset_bits);
    return {offset, (more_sectors + 1) * 512 - offset % 512};
}

} // namespace calque::backends::qcow2
