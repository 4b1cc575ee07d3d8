// Guest memory as firmware sees it while it lays things out, before the first instruction runs.
#pragma once

#include "base/types.h"

#include <array>
#include <span>
#include <string_view>
#include <vector>

namespace calque::firmware {

// Implemented by the machine over guest RAM. The RAM behind 0xA0000-0xFFFFF (the shadow RAM of the i440FX) belongs to
// it, whatever the PAM registers say at the moment.
class GuestMemory {
  public:
    virtual ~GuestMemory() = default;
    // Copies bytes in or out. False, and nothing is copied, when any byte of the range is not RAM. Any address and
    // length are allowed, also ones that wrap.
    virtual bool write(PhysicalAddress address, std::span<const u8> bytes) = 0;
    virtual bool read(PhysicalAddress address, std::span<u8> bytes) const = 0;

    // Clears `size` bytes; false when a part of it is not RAM (what came before that part may be cleared).
    bool zero(PhysicalAddress address, u64 size) {
        static constexpr std::array<u8, 65536> zeros{};
        for (u64 done = 0; done < size;) {
            const u64 step = size - done < zeros.size() ? size - done : zeros.size();
            if (!write(address + done, std::span(zeros).first(step))) return false;
            done += step;
        }
        return true;
    }
};

} // namespace calque::firmware
