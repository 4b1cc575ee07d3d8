// A disk whose requests wait until the test lets them happen.
#pragma once

#include "devices/block_backend.h"

#include <algorithm>
#include <deque>
#include <vector>

namespace calque::devices::test {

class FakeDisk final : public BlockBackend {
  public:
    explicit FakeDisk(std::size_t sectors) : bytes(sectors * sector) {
        for (std::size_t i = 0; i < bytes.size(); ++i)
            bytes[i] = static_cast<u8>(i / sector * 7 + i % 251);
    }

    void submit(BlockRequest request) override { waiting.push_back(std::move(request)); }
    std::optional<BlockStatus> try_now(const BlockRequest& request) override {
        if (!at_hand || request.kind != BlockRequest::Kind::read) return std::nullopt;
        return perform(request);
    }
    bool has_medium() const override { return medium; }
    u64 size() const override { return medium ? bytes.size() : 0; }
    bool read_only() const override { return is_read_only; }
    u32 medium_changes() const override { return changes; }
    void lock_medium(bool on) override { locked = on; }
    void set_medium_observer(std::function<void(bool)> observer) override { observer_ = std::move(observer); }
    bool write_cache() const override { return cache; }
    void set_write_cache(bool on) override { cache = on; }
    bool discards() const override { return true; }
    std::string serial() const override { return name; }

    // Performs everything that waits, and what comes of it; up to `most` requests.
    unsigned settle(unsigned most = ~0u) {
        unsigned count = 0;
        while (!waiting.empty() && count < most) {
            BlockRequest request = std::move(waiting.front());
            waiting.pop_front();
            const BlockStatus status = perform(request);
            ++count;
            if (request.done) request.done(status);
        }
        return count;
    }
    void change_medium(bool present) {
        medium = present;
        ++changes;
        if (observer_) observer_(false);
    }

    std::vector<u8> bytes;
    std::deque<BlockRequest> waiting;
    BlockStatus failure = BlockStatus::ok; // What every request comes to, when it is not ok.
    bool at_hand = false;                  // Reads need no waiting.
    bool medium = true, is_read_only = false, cache = true, locked = false;
    u32 changes = 0;
    unsigned flushes = 0, durable_writes = 0;
    std::string name;

  private:
    BlockStatus perform(const BlockRequest& request) {
        if (failure != BlockStatus::ok) return failure;
        if (!medium) return BlockStatus::no_medium;
        if (request.kind == BlockRequest::Kind::flush) {
            ++flushes;
            return BlockStatus::ok;
        }
        u64 length = request.length;
        for (const auto& buffer : request.buffers)
            length += buffer.size();
        if (request.offset % sector || length % sector || request.offset > bytes.size()
            || length > bytes.size() - request.offset)
            return BlockStatus::out_of_range;
        auto at = bytes.begin() + static_cast<std::ptrdiff_t>(request.offset);
        if (request.kind != BlockRequest::Kind::read) {
            if (is_read_only) return BlockStatus::read_only;
            durable_writes += request.force_unit_access;
        }
        if (request.buffers.empty()) std::fill_n(at, length, u8{0});
        for (const auto& buffer : request.buffers) {
            if (request.kind == BlockRequest::Kind::read)
                std::copy_n(at, buffer.size(), buffer.begin());
            else
                std::copy(buffer.begin(), buffer.end(), at);
            at += static_cast<std::ptrdiff_t>(buffer.size());
        }
        return BlockStatus::ok;
    }
    std::function<void(bool)> observer_;
};

} // namespace calque::devices::test
