// A third-party DMA channel as an ISA device sees it.
#pragma once

#include "base/types.h"

#include <span>

namespace calque::devices {

class IsaDma {
  public:
    virtual ~IsaDma() = default;
    struct Transfer {
        std::size_t bytes = 0;       // How many went through; 0 while the channel is masked or set up otherwise.
        bool terminal_count = false; // The channel's count ran out (TC) with the last of them.
    };
    // Moves up to data.size() bytes to or from guest memory, as the channel is programmed (verify counts as either).
    // Channels 0-3 move bytes, 5-7 words (an odd byte stays).
    virtual Transfer to_memory(unsigned channel, std::span<const u8> data) = 0;
    virtual Transfer from_memory(unsigned channel, std::span<u8> data) = 0;
    // The channel's DREQ input, for the status register.
    virtual void set_request(unsigned channel, bool level) = 0;
};

} // namespace calque::devices
