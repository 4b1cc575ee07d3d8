// Memory for translated code: one reserved piece, seen twice, so that no page is writable and executable at one
// address.
#pragma once

#include "base/types.h"

#include <cstddef>
#include <span>

namespace calque::jit {

class CodeArena {
  public:
    explicit CodeArena(std::size_t bytes); // At most 2 GiB, so that direct branches reach. Committed as used.
    ~CodeArena();
    CodeArena(const CodeArena&) = delete;
    CodeArena& operator=(const CodeArena&) = delete;

    // Where the next piece will run; where the part of it that is seldom run will, in the other half, so that what is
    // often run lies close together.
    const std::byte* next() const { return executable_ + used_; }
    const std::byte* next_cold() const { return executable_ + size_ / 2 + cold_used_; }
    bool has_room(std::size_t bytes) const {
        return used_ + bytes + alignment <= size_ / 2 && cold_used_ + bytes + alignment <= size_ / 2;
    }
    // Copies code that was made for next() there, and returns where it runs; the same for next_cold().
    const std::byte* append(std::span<const u8> code);
    const std::byte* append_cold(std::span<const u8> code);
    // Forgets everything from `mark` (an address that next() gave) on, and all that is seldom run.
    void cut(const std::byte* mark) {
        used_ = static_cast<std::size_t>(mark - executable_);
        cold_used_ = 0;
    }
    bool contains(const void* address) const {
        const std::size_t at = static_cast<std::size_t>(static_cast<const std::byte*>(address) - executable_);
        return at < used_ || at - size_ / 2 < cold_used_;
    }
    // Writes a 32-bit value over code that runs at `at`.
    void patch(const std::byte* at, u32 value);
    // Writes a jump, five bytes, to `target` over code that runs at `at`.
    void patch_jump(const std::byte* at, const std::byte* target);
    std::size_t used() const { return used_ + cold_used_; }

  private:
    static constexpr std::size_t alignment = 16;

    std::byte* writable_ = nullptr;
    std::byte* executable_ = nullptr;
    std::size_t size_, used_ = 0, cold_used_ = 0;
};

} // namespace calque::jit
