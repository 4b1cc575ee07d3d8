// A raw image whose format was guessed.
#pragma once

#include "frontend/backends/block/open_image.h"

#include <atomic>

namespace calque::backends {

// Refuses, with EPERM, writes that would make the start look like another format.
class GuardedImage final : public BlockImage {
  public:
    GuardedImage(std::unique_ptr<BlockImage> image, std::function<void(const std::string&)> report)
        : image_(std::move(image)), report_(std::move(report)) {}

    u64 size() const override { return image_->size(); }
    bool read_only() const override { return image_->read_only(); }
    const std::string& name() const override { return image_->name(); }
    int read(u64 offset, std::span<u8> data) override { return image_->read(offset, data); }
    bool read_now(u64 offset, std::span<u8> data) override { return image_->read_now(offset, data); }
    int write(u64 offset, std::span<const u8> data) override;
    int flush() override { return image_->flush(); }
    int discard(u64 offset, u64 length) override { return image_->discard(offset, length); }
    int write_zeroes(u64 offset, u64 length, bool may_unmap) override {
        return image_->write_zeroes(offset, length, may_unmap);
    }
    int resize(u64 size) override { return image_->resize(size); }

  private:
    const std::unique_ptr<BlockImage> image_;
    const std::function<void(const std::string&)> report_;
    std::atomic<bool> told_{false};
};

} // namespace calque::backends
