// Making qcow2 images.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/image.h"

#include <string>

namespace calque::backends {

struct Qcow2CreateOptions {
    u64 size = 0; // Of the disk, in bytes.
    u32 version = 3;
    u64 cluster_size = 65536; // 512 bytes to 2 MiB, a power of two.
    u32 refcount_bits = 16;   // 1 to 64, a power of two; 16 in version 2.
    bool lazy_refcounts = false;
    std::string backing_name;   // As the image is to say it; empty: none.
    std::string backing_format; // "raw", "qcow2", or empty.
};

// Writes an empty image into `file`, whose contents are lost.
Result<void> create_qcow2(BlockImage& file, const Qcow2CreateOptions& options);

} // namespace calque::backends
