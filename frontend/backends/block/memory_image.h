// A disk in memory, and one that fails as it is told: for tests and fuzzers.
#pragma once

#include "frontend/backends/block/image.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace calque::backends {

class MemoryImage final : public BlockImage {
  public:
    explicit MemoryImage(std::vector<u8> bytes, bool read_only = false)
        : bytes_(std::move(bytes)), read_only_(read_only) {}

    u64 size() const override {
        std::lock_guard lock(mutex_);
        return bytes_.size();
    }
    bool read_only() const override { return read_only_; }
    const std::string& name() const override { return name_; }
    int read(u64 offset, std::span<u8> data) override {
        std::lock_guard lock(mutex_);
        if (!in_range(offset, data.size())) return EINVAL;
        std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), data.size(), data.begin());
        return 0;
    }
    int write(u64 offset, std::span<const u8> data) override {
        std::lock_guard lock(mutex_);
        if (read_only_) return EROFS;
        if (!in_range(offset, data.size())) return EINVAL;
        std::copy(data.begin(), data.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
        return 0;
    }
    int flush() override {
        ++flushes_;
        return 0;
    }
    int discard(u64 offset, u64 length) override { return write_zeroes(offset, length, true); }
    int write_zeroes(u64 offset, u64 length, bool) override {
        std::lock_guard lock(mutex_);
        if (read_only_) return EROFS;
        if (!in_range(offset, length)) return EINVAL;
        std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), length, u8{0});
        return 0;
    }
    int resize(u64 size) override {
        std::lock_guard lock(mutex_);
        bytes_.resize(size);
        return 0;
    }

    std::vector<u8> bytes() const {
        std::lock_guard lock(mutex_);
        return bytes_;
    }
    unsigned flushes() const { return flushes_; }

  private:
    bool in_range(u64 offset, u64 length) const { return offset <= bytes_.size() && length <= bytes_.size() - offset; }
    mutable std::mutex mutex_;
    std::vector<u8> bytes_;
    const bool read_only_;
    std::string name_ = "memory";
    std::atomic<unsigned> flushes_{0};
};

// Passes everything to another image until it is told to fail: then each kind of access gives its errno value.
class FaultyImage final : public BlockImage {
  public:
    explicit FaultyImage(std::shared_ptr<BlockImage> image) : image_(std::move(image)) {}
    std::atomic<int> read_error{0}, write_error{0}, flush_error{0};

    u64 size() const override { return image_->size(); }
    bool read_only() const override { return image_->read_only(); }
    const std::string& name() const override { return image_->name(); }
    int read(u64 offset, std::span<u8> data) override {
        const int error = read_error;
        return error ? error : image_->read(offset, data);
    }
    int write(u64 offset, std::span<const u8> data) override {
        const int error = write_error;
        return error ? error : image_->write(offset, data);
    }
    int flush() override {
        const int error = flush_error;
        return error ? error : image_->flush();
    }
    int discard(u64 offset, u64 length) override {
        const int error = write_error;
        return error ? error : image_->discard(offset, length);
    }
    int write_zeroes(u64 offset, u64 length, bool may_unmap) override {
        const int error = write_error;
        return error ? error : image_->write_zeroes(offset, length, may_unmap);
    }
    int resize(u64 size) override { return image_->resize(size); }

  private:
    const std::shared_ptr<BlockImage> image_;
};

} // namespace calque::backends
