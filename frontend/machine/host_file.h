// Host files read and written whole.
#pragma once

#include "base/result.h"
#include "base/types.h"

#include <span>
#include <string>
#include <vector>

namespace calque::machine {

// `option` is the word on the command line that named the file, for the message. A file of more than `limit` bytes is
// refused.
Result<std::vector<u8>> read_host_file(const std::string& path, const std::string& option, u64 limit);
// Replaces a plain file or makes a new one. Writes beside the file and renames at the end, so that a failure leaves
// what was there.
Result<void> write_host_file(const std::string& path, std::span<const u8> data);

} // namespace calque::machine
