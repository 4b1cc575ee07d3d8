// The flash chips that firmware lies in, below 4 GiB: -drive if=pflash.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/disk.h"

#include <vector>

namespace calque::machine {

inline constexpr u64 flash_limit = u64{16} << 20; // All chips together.

// All of a drive's medium. Errors: its size is not one of a flash chip, or the host cannot read it.
Result<std::vector<u8>> read_flash(const backends::Disk& disk);

} // namespace calque::machine
