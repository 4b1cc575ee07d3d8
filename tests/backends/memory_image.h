// A disk image in memory that can fail, and lose what was not flushed.
#pragma once

#include "frontend/backends/block/image.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

namespace calque::backends::test {

// What is on the platter and what is on its way there. Shared, so that it outlives the image on top of it.
class MemoryDisk {
  public:
    std::vector<u8> bytes;   // As a reader sees them.
    std::vector<u8> durable; // As of the last flush.
    struct Change {
        u64 offset = 0; // In both: of a write, or the new size.
        std::vector<u8> data;
        bool resize = false;
    };
    std::vector<Change> changes; // Since then.
    bool track = false;          // Keep `changes`.
    u64 limit = u64{1} << 30;    // The largest that it can be.
    u64 flushes = 0;
    u64 written = 0; // In bytes.
    // Asked before each call; gives an errno value or 0.
    std::function<int()> fault;
    // Runs before each call, which has not been done then, with the lock held.
    std::function<void()> watch;
    // Runs before reads and writes, without the lock.
    std::function<void()> pause;
    std::mutex mutex;

    // What could be left if the host lost power now: the changes since the last flush, in order, each sector of 512
    // bytes there or not.
    std::vector<u8> after_power_loss(std::mt19937_64& random) const {
        std::vector<u8> left = durable;
        for (const Change& change : changes) {
            if (change.resize) {
                if (random() % 2 == 0 || change.offset > left.size()) left.resize(change.offset);
                continue;
            }
            for (u64 at = 0; at < change.data.size();) {
                const u64 part = std::min<u64>(512 - (change.offset + at) % 512, change.data.size() - at);
                if (random() % 2 == 0) {
                    if (left.size() < change.offset + at + part) left.resize(change.offset + at + part);
                    std::copy_n(change.data.begin() + static_cast<i64>(at), part,
                                left.begin() + static_cast<i64>(change.offset + at));
                }
                at += part;
            }
        }
        return left;
    }
};

class MemoryImage final : public BlockImage {
  public:
    explicit MemoryImage(std::shared_ptr<MemoryDisk> disk, bool read_only = false)
        : disk_(std::move(disk)), read_only_(read_only) {}

    u64 size() const override {
        std::lock_guard lock(disk_->mutex);
        return disk_->bytes.size();
    }
    bool read_only() const override { return read_only_; }
    const std::string& name() const override { return name_; }

    int read(u64 offset, std::span<u8> data) override {
        if (disk_->pause) disk_->pause();
        std::lock_guard lock(disk_->mutex);
        if (const int error = before(offset, data.size())) return error;
        std::copy_n(disk_->bytes.begin() + static_cast<i64>(offset), data.size(), data.begin());
        return 0;
    }
    int write(u64 offset, std::span<const u8> data) override {
        if (read_only_) return EROFS;
        if (disk_->pause) disk_->pause();
        std::lock_guard lock(disk_->mutex);
        if (const int error = before(offset, data.size())) return error;
        std::copy(data.begin(), data.end(), disk_->bytes.begin() + static_cast<i64>(offset));
        disk_->written += data.size();
        if (disk_->track) disk_->changes.push_back({offset, {data.begin(), data.end()}, false});
        return 0;
    }
    int flush() override {
        std::lock_guard lock(disk_->mutex);
        if (const int error = before(0, 0)) return error;
        ++disk_->flushes;
        for (const MemoryDisk::Change& change : disk_->changes) {
            if (change.resize)
                disk_->durable.resize(change.offset);
            else
                std::copy(change.data.begin(), change.data.end(),
                          disk_->durable.begin() + static_cast<i64>(change.offset));
        }
        disk_->changes.clear();
        return 0;
    }
    int discard(u64 offset, u64 length) override {
        if (read_only_) return EROFS;
        const std::vector<u8> junk(length, 0xdd); // Whoever reads what was discarded shall see it.
        return write(offset, junk);
    }
    int write_zeroes(u64 offset, u64 length, bool) override { return write(offset, std::vector<u8>(length)); }
    int resize(u64 size) override {
        if (read_only_) return EROFS;
        std::lock_guard lock(disk_->mutex);
        if (const int error = before(0, 0)) return error;
        if (size > disk_->limit) return ENOSPC;
        disk_->bytes.resize(size);
        if (disk_->track) disk_->changes.push_back({size, {}, true});
        return 0;
    }

  private:
    int before(u64 offset, u64 length) const {
        if (disk_->watch) disk_->watch();
        if (disk_->fault)
            if (const int error = disk_->fault()) return error;
        return offset <= disk_->bytes.size() && length <= disk_->bytes.size() - offset ? 0 : EINVAL;
    }

    std::shared_ptr<MemoryDisk> disk_;
    const bool read_only_;
    const std::string name_ = "memory";
};

} // namespace calque::backends::test
