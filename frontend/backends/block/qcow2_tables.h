// The active mapping of a qcow2 image: the L1 table, and a bounded cache of L2 tables.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/qcow2_file.h"

#include <condition_variable>
#include <list>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace calque::backends::qcow2 {

// One L2 table in memory.
struct Table {
    u32 index = 0;           // In the L1 table.
    std::vector<u8> bytes;   // As in the file.
    std::vector<bool> dirty; // Per `dirty_unit` bytes.
    bool is_dirty = false;
    bool detached = false; // Nothing in the file names it yet: it may be written before what it refers to.
    bool ready = false;    // Its bytes were read.
    bool checked = false;  // Its entries were compared with the refcounts, so that it may be changed.
    unsigned writing = 0;  // How many commits hold a copy.

    static constexpr u64 dirty_unit = 4096;
    u64 get(u64 entry) const { return load64(bytes, entry); }
    void set(u64 entry, u64 value) {
        store64(bytes, entry, value);
        dirty[entry * 8 / dirty_unit] = true;
        is_dirty = true;
    }
};

// What one commit writes: copies, so that the tables can change meanwhile.
struct Batch {
    struct Piece {
        u64 offset = 0;
        std::vector<u8> bytes;
    };
    std::vector<Piece> detached;       // Nothing in the file names these tables.
    std::vector<Piece> attached;       // These change what the file means.
    std::vector<Table*> tables;        // All that are copied here.
    std::vector<u32> attached_indices; // Of detached tables that `attached` lets the L1 table name.
    std::vector<u64> l1_units;         // Of `l1_dirty_`.
    bool empty() const { return detached.empty() && attached.empty(); }
};

// The image's lock guards all of it; find() lets go of it while it reads.
class Tables {
  public:
    explicit Tables(File& file);

    // Reads and checks the L1 table.
    Result<void> load();

    u64 l1_entry(u32 index) const { return l1_[index]; }
    u32 l1_size() const { return static_cast<u32>(l1_.size()); }
    // Gives the table, null where the L1 table has none. The pointer is good until the lock is let go. `no_room` when
    // the cache is full of tables that changed: commit, then come again.
    static constexpr int no_room = -1;
    int find(std::unique_lock<std::mutex>& lock, u32 index, Table*& table);
    // A table of zeros for an L1 entry that has none, at `cluster`. Can give `no_room` too.
    int attach_new(u32 index, u64 cluster, Table*& table);
    // Gives a table that is in use by a snapshot too a new place.
    void move(Table& table, u64 cluster);

    void collect(Batch& batch);
    void finish(const Batch& batch, bool written);

    // Whether the L1 table or an L2 table that it names is there.
    bool owns(u64 cluster) const;
    const std::vector<u64>& l1() const { return l1_; }
    // Replaces the L1 table, already in the file and in the header, and forgets all tables, which must be clean.
    Result<void> reload();

  private:
    using Cache = std::list<Table>; // The most recently used first.
    const Geometry& geometry() const { return file_.geometry(); }
    int make_room();
    void set_l1(u32 index, u64 entry);
    Cache::iterator insert(u32 index);

    File& file_;
    std::vector<u64> l1_;
    std::vector<bool> l1_dirty_; // Per 512 bytes.
    bool is_l1_dirty_ = false;
    Cache cache_;
    std::unordered_map<u32, Cache::iterator> cached_;
    u64 capacity_;
    std::vector<u64> first_clusters_;          // Clusters of L2 tables at load(), in order.
    std::unordered_set<u64> more_clusters_;    // Since then.
    std::unordered_set<u64> dropped_clusters_; // No longer, of `first_clusters_`.
    std::condition_variable loaded_;
};

} // namespace calque::backends::qcow2
