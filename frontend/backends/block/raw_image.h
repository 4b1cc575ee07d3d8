// A raw image: a file or block device whose bytes are the disk's.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/cache_mode.h"
#include "frontend/backends/block/image.h"
#include "frontend/backends/unique_fd.h"

#include <atomic>
#include <memory>
#include <string>

namespace calque::backends {

struct RawOptions {
    bool read_only = false;
    CacheMode cache{};
    bool lock = true; // Against other programs (and this one) that have it open; see file_lock.h.
};

// Also what formats keep their own file in. Reads and writes go in parallel. Once the host failed to write something
// back, every later flush() fails: what the page cache dropped cannot be told.
class RawImage final : public BlockImage {
  public:
    // Errors: not there, no permission, a folder or a pipe, locked, no O_DIRECT on its file system.
    static Result<std::unique_ptr<RawImage>> open(const std::string& path, const RawOptions& options);
    // A file without a name in `folder` (empty: TMPDIR or /var/tmp), gone when it is closed. Sparse, reads as zeros.
    static Result<std::unique_ptr<RawImage>> temporary(u64 size, const std::string& folder = {});

    u64 size() const override { return size_; }
    bool read_only() const override { return read_only_; }
    const std::string& name() const override { return name_; }
    int read(u64 offset, std::span<u8> data) override;
    bool read_now(u64 offset, std::span<u8> data) override;
    int write(u64 offset, std::span<const u8> data) override;
    int flush() override;
    int discard(u64 offset, u64 length) override;
    int write_zeroes(u64 offset, u64 length, bool may_unmap) override;
    int resize(u64 size) override;

  private:
    RawImage() = default;
    Result<void> measure();
    Result<void> open_direct(const std::string& path);
    bool in_range(u64 offset, u64 length) const { return offset <= size_ && length <= size_ - offset; }
    bool fits_direct(u64 offset, u64 length) const;
    int read_direct(u64 offset, std::span<u8> data);
    int write_direct(u64 offset, std::span<const u8> data);
    int write_zero_bytes(u64 offset, u64 length);
    int written(int error);
    int sync();

    std::string name_;
    UniqueFd fd_;          // Through the page cache; holds the locks.
    UniqueFd direct_;      // Past it, with CacheMode::direct. Ends that are not aligned go through fd_.
    u64 alignment_ = 4096; // Of offsets, lengths and memory for direct_.
    CacheMode cache_;
    bool read_only_ = false;
    bool block_device_ = false;
    std::atomic<u64> size_{0};
    std::atomic<int> sync_error_{0};
    std::atomic<bool> reads_now_{true}; // The file system can say what it has in memory.
};

} // namespace calque::backends
