// Comparing the refcounts of a qcow2 image with what is in use.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/qcow2_refcounts.h"
#include "frontend/backends/block/qcow2_snapshots.h"

#include <memory>
#include <string>
#include <vector>

namespace calque::backends::qcow2 {

struct CheckResult {
    u64 errors = 0; // Counts that are too low, entries that are wrong: the image must not be written to.
    u64 leaks = 0;  // Clusters that are counted but not used.
    u64 clusters = 0;
    u64 allocated = 0;
    u64 compressed = 0;
    u64 end = 0;                       // Of the last cluster in use, in bytes.
    std::vector<std::string> messages; // The first hundred.
};

// Checks an image without changing it. Error: what cannot be checked at all.
Result<CheckResult> check_image(std::unique_ptr<BlockImage> file);

// Makes the refcounts what the tables say, and clears the dirty bit: after a program with lazy refcounts was ended.
Result<void> repair_refcounts(File& file, Refcounts& refcounts, const std::vector<Snapshot>& snapshots);

} // namespace calque::backends::qcow2
