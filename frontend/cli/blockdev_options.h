// -blockdev: images as trees of nodes that name each other.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "frontend/backends/block/drive.h"

#include <string>
#include <vector>

namespace calque::cli {

// One node: "driver=qcow2,node-name=N,file=M", or the same as JSON. Errors: no node-name, no driver.
Result<Json> parse_blockdev(const std::string& text);
// Nodes that name others by file= or backing= contain them afterwards; each that no other one has becomes a drive for
// -device, with its node-name as id. Errors: names twice, names of nothing, nodes in two places or within themselves.
Result<void> join_blockdevs(const std::vector<Json>& nodes, std::vector<backends::DriveOptions>& drives);

} // namespace calque::cli
