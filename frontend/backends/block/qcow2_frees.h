// Clusters on their way to being free. Nothing may use a cluster again before the table that no longer names it is on
// the platter, nor while a request that looked it up before may still read or write it.
#pragma once

#include "base/types.h"

#include <array>
#include <utility>
#include <vector>

namespace calque::backends::qcow2 {

struct Freed {
    u64 first = 0; // A cluster's number.
    u64 count = 0;
    bool unmap = false; // Give the room in the host's file back.
};

// Which requests are running, in two generations, as far as that must be known. The image's lock guards it.
class Generations {
  public:
    u64 enter() {
        ++running_[current_ & 1];
        return current_;
    }
    void leave(u64 generation) { --running_[generation & 1]; }
    u64 current() const { return current_; }
    bool idle() const { return running_[0] == 0 && running_[1] == 0; }
    // A generation begins when the one before the current has ended, so that two at most are running.
    void advance() {
        for (int i = 0; i < 2; ++i)
            if (running_[(current_ + 1) & 1] == 0) ++current_;
    }
    // All requests that were running in that generation have ended.
    bool ended(u64 generation) const { return current_ >= generation + 2; }

  private:
    u64 current_ = 2;
    std::array<u64, 2> running_{};
};

// The image's lock guards it.
class Frees {
  public:
    // Nothing in memory names the cluster any more.
    void add(u64 cluster, u64 count, bool unmap) {
        if (!named_.empty()) {
            Freed& last = named_.back();
            if (last.first + last.count == cluster && last.unmap == unmap) {
                last.count += count;
                return;
            }
        }
        named_.push_back({cluster, count, unmap});
    }
    // So many that it is time for a commit.
    bool many() const { return named_.size() > 65536; }
    bool empty() const { return named_.empty() && written_.empty() && settled_.empty(); }
    bool has_named() const { return !named_.empty(); }

    // A commit starts; it failed, or the tables are written; what was written is on the platter.
    std::vector<Freed> begin_commit() { return std::exchange(named_, {}); }
    void commit_failed(const std::vector<Freed>& batch) { named_.insert(named_.end(), batch.begin(), batch.end()); }
    void written(const std::vector<Freed>& batch) { written_.insert(written_.end(), batch.begin(), batch.end()); }
    std::vector<Freed> begin_flush() { return std::exchange(written_, {}); }
    void settled(std::vector<Freed> batch, u64 generation) {
        if (!batch.empty()) settled_.push_back({std::move(batch), generation});
    }
    // What can be counted as free now.
    std::vector<Freed> take(const Generations& generations) {
        std::vector<Freed> ready;
        std::erase_if(settled_, [&](const Settled& one) {
            if (!generations.ended(one.generation)) return false;
            ready.insert(ready.end(), one.batch.begin(), one.batch.end());
            return true;
        });
        return ready;
    }

  private:
    struct Settled {
        std::vector<Freed> batch;
        u64 generation;
    };
    std::vector<Freed> named_;   // The file still names them.
    std::vector<Freed> written_; // The page cache does not, the platter may.
    std::vector<Settled> settled_;
};

} // namespace calque::backends::qcow2
