// The first cluster of a qcow2 file: the header and its extensions, checked.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/image.h"
#include "frontend/backends/block/qcow2_format.h"

#include <string>
#include <vector>

namespace calque::backends::qcow2 {

struct Header {
    u32 version = 3;
    Geometry geometry;
    u64 size = 0; // The disk's, in bytes.
    u32 l1_size = 0;
    u64 l1_offset = 0;
    u64 refcount_offset = 0;
    u32 refcount_clusters = 0;
    u32 snapshot_count = 0;
    u64 snapshots_offset = 0;
    u64 incompatible = 0;
    u64 compatible = 0;
    u64 autoclear = 0;
    u8 compression_type = 0; // 0: zlib, 1: zstd.
    std::string backing_name;
    std::string backing_format; // Empty where the image does not say.
    bool has_bitmaps = false;

    bool lazy_refcounts() const { return version >= 3 && (compatible & compatible::lazy_refcounts) != 0; }
};

inline constexpr u64 max_l1_bytes = 32 << 20;
inline constexpr u64 max_refcount_table_bytes = 8 << 20;
inline constexpr u32 max_snapshots = 65536;

// Reads and checks the header against the file's size. Errors are sentences: what is not qcow2, not supported (by
// name) or out of range.
Result<Header> read_header(BlockImage& file);

// The first cluster's bytes for a new image (or an image whose backing file changes). Error: a name that does not fit.
Result<std::vector<u8>> encode_header(const Header& header);

} // namespace calque::backends::qcow2
