// Where random numbers for the guest come from.
#pragma once

#include "base/types.h"

#include <span>

namespace calque::devices {

class EntropySource {
  public:
    virtual ~EntropySource() = default;
    // Fills from the front and returns how many bytes there are now; never blocks. Any thread.
    virtual std::size_t fill(std::span<u8> bytes) = 0;
};

} // namespace calque::devices
