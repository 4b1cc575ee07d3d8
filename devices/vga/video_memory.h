// The memory of a display adapter, and what of it was written since somebody looked.
#pragma once

#include "devices/device.h"

#include <atomic>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace calque::devices::vga {

// Processors reach the memory directly. While it is watched, they do so only where something was written lately: the
// first write to a closed stretch comes through open_for_write(). A stretch that a processor wrote a moment
// after it was closed was listed as written once more then, so nothing is missed.
class VideoMemory {
  public:
    static constexpr u64 page = 4096;
    static constexpr u64 stretch = 16 * page;
    static constexpr u64 smallest = u64{1} << 20, largest = u64{256} << 20;

    // `size` is a power of two from `smallest` to `largest`. Zeroed, and committed as it is touched.
    explicit VideoMemory(u64 size);

    u8* data() { return data_; }
    const u8* data() const { return data_; }
    std::span<const u8> bytes() const { return {data_, size_}; }
    u64 size() const { return size_; }

    std::vector<DirectMemory> direct_memory() const;
    // Bytes that the device has written by itself.
    void note_write(u64 offset, u64 length);
    // Bytes that the device is about to write for a processor. True when direct_memory() is another now.
    bool open_for_write(u64 offset, u64 length);

    // The pages written since the last call, a flag for each; all of them at the first. Watches from now on.
    // `changed`: direct_memory() is another now.
    std::vector<bool> collect(bool& changed);
    // True when it was watched: direct_memory() is another now.
    bool stop_watching();
    bool watched() const { return watched_.load(std::memory_order_relaxed); }

    void serialize(Archive& archive); // Pages of zeros take no room.

  private:
    struct Freed {
        void operator()(u8* memory) const { std::free(memory); }
    };

    const u64 size_;
    std::unique_ptr<u8[], Freed> block_;
    u8* data_;
    std::atomic<bool> watched_{false};
    mutable std::mutex mutex_; // Guards what follows.
    std::vector<bool> written_;
    std::vector<u8> open_; // By stretch: for how many more looks it counts as written; 0: closed.
    u64 opened_ = 0;       // Stretches since the last look.
};

} // namespace calque::devices::vga
