// Memory for translated code: one reserved piece, seen twice, so that no page is writable and executable at one
// address.
#pragma once

#include "base/types.h"

#include <cstddef>
#include <future>
#include <span>

namespace calque::jit {

inline constexpr std::size_t large_page = std::size_t{2} << 20; // The host's.

// The host's instruction TLB is small beside what a compiler or a browser runs, so what is full goes into large pages.
// Those of shared memory are off on most hosts (shmem_enabled) but for who asks for them piece by piece
// (MADV_COLLAPSE, Linux 6.1), which takes milliseconds: a thread of its own does that.
class CodeArena {
  public:
    // What the host calls the memory: a file (so that it is known in its lists), or nothing, as perf wants it of code
    // that a perf map names.
    enum class Mapping : u8 { file, anonymous };
    // At most 2 GiB, so that direct branches reach. Committed as used.
    explicit CodeArena(std::size_t bytes, Mapping mapping = Mapping::file);
    ~CodeArena();
    CodeArena(const CodeArena&) = delete;
    CodeArena& operator=(const CodeArena&) = delete;

    // Where the next piece will run; where the part of it that is seldom run will, in the other part of the memory, so
    // that what is often run lies close together.
    const std::byte* next() const { return executable_ + used_; }
    const std::byte* next_cold() const { return executable_ + cold_.start + cold_used_; }
    bool has_room(std::size_t bytes) const {
        return used_ + bytes + alignment <= cold_.start && cold_used_ + bytes + alignment <= size_ - cold_.start;
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
        return at < used_ || at - cold_.start < cold_used_;
    }
    // Writes a 32-bit value over code that runs at `at`.
    void patch(const std::byte* at, u32 value);
    // Writes a jump, five bytes, to `target` over code that runs at `at`.
    void patch_jump(const std::byte* at, const std::byte* target);
    std::size_t used() const { return used_ + cold_used_; }

  private:
    static constexpr std::size_t alignment = 16;

    // What of a part of the memory is in large pages.
    struct Part {
        std::size_t start, collapsed;
    };
    void note_used(Part& part, std::size_t used) {
        if (start_of_large(used) > part.collapsed) collapse(part, start_of_large(used));
    }
    static std::size_t start_of_large(std::size_t at) { return at & ~(large_page - 1); }
    // Moves what lies before `end` (from the part's start) into large pages, unless that goes on already.
    void collapse(Part& part, std::size_t end);
    // What is often run is a little more (docs/measurements.md).
    static std::size_t start_of_cold(std::size_t bytes) {
        const std::size_t start = start_of_large(bytes / 25 * 13);
        return start != 0 ? start : bytes / 2;
    }

    std::byte* writable_ = nullptr;
    std::byte* executable_ = nullptr;
    std::size_t size_, used_ = 0, cold_used_ = 0;
    Part hot_{0, 0}, cold_{start_of_cold(size_), 0};
    std::future<void> collapsing_;
};

} // namespace calque::jit
