// What -snapshot puts over an image: changes go to a temporary file and are gone at the end.
#pragma once

#include "frontend/backends/block/image.h"

#include <memory>
#include <shared_mutex>
#include <string>
#include <vector>

namespace calque::backends {

// Blocks that were written are read from `changes`, others from `base`, which is never written. Both as large as the
// base was when it was opened.
class OverlayImage final : public BlockImage {
  public:
    OverlayImage(std::shared_ptr<BlockImage> base, std::unique_ptr<BlockImage> changes);

    u64 size() const override { return size_; }
    bool read_only() const override { return false; }
    const std::string& name() const override { return base_->name(); }
    int read(u64 offset, std::span<u8> data) override;
    int write(u64 offset, std::span<const u8> data) override;
    int flush() override { return 0; } // Nothing here is to outlive the process.
    int discard(u64 offset, u64 length) override;
    int write_zeroes(u64 offset, u64 length, bool may_unmap) override;
    int resize(u64) override;

  private:
    static constexpr u64 block = 4096;
    bool in_range(u64 offset, u64 length) const { return offset <= size_ && length <= size_ - offset; }
    bool changed(u64 number) const { return changed_[number / 64] >> (number % 64) & 1; }
    int take(u64 offset, u64 length);
    int copy_block(u64 number);

    const std::shared_ptr<BlockImage> base_;
    const std::unique_ptr<BlockImage> changes_;
    const u64 size_;
    std::shared_mutex mutex_;
    std::vector<u64> changed_; // A bit per block.
};

} // namespace calque::backends
