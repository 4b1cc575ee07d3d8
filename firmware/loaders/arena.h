// The part of low memory in which loaders put command lines and boot information.
#pragma once

#include "firmware/bytes.h"
#include "firmware/guest_memory.h"
#include "firmware/layout.h"

#include <optional>
#include <string_view>

namespace calque::firmware {

class Arena {
  public:
    explicit Arena(GuestMemory& memory) : memory_(memory) {}

    // Copies the bytes to the next free place, a multiple of 16. Nothing when the arena is full.
    std::optional<u32> put(std::span<const u8> bytes) {
        const u64 at = align_up(next_, 16);
        if (at > layout::arena.end() || bytes.size() > layout::arena.end() - at
            || !memory_.write(PhysicalAddress(at), bytes))
            return std::nullopt;
        next_ = at + bytes.size();
        return static_cast<u32>(at);
    }
    // The text with its terminating zero.
    std::optional<u32> put_text(std::string_view text) {
        std::vector<u8> bytes;
        append(bytes, text);
        bytes.push_back(0);
        return put(bytes);
    }

  private:
    GuestMemory& memory_;
    u64 next_ = layout::arena.base;
};

} // namespace calque::firmware
