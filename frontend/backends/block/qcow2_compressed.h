// Clusters that are kept compressed: raw deflate (zlib) or zstd.
#pragma once

#include "frontend/backends/block/qcow2_file.h"

#include <array>
#include <mutex>
#include <vector>

namespace calque::backends::qcow2 {

// Remembers a few clusters, for readers that take them in small steps. Safe from several threads.
class CompressedClusters {
  public:
    explicit CompressedClusters(File& file) : file_(file) {}
    // Part of the cluster that the L2 entry names, from `offset` in the cluster on. EIO where the data is damaged.
    int read(u64 entry, u64 offset, std::span<u8> data);

  private:
    struct Known {
        u64 entry = 0;
        u64 used = 0;
        std::vector<u8> bytes;
    };
    bool copy_known(u64 entry, u64 offset, std::span<u8> data);

    File& file_;
    std::mutex mutex_;
    u64 uses_ = 0;
    std::array<Known, 8> known_;
};

// Fills `cluster` from data that may go on behind its end; false where it cannot.
bool decompress(u8 compression_type, std::span<const u8> data, std::span<u8> cluster);

} // namespace calque::backends::qcow2
