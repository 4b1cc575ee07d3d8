// Which clusters of a qcow2 file are in use: the refcount table, its blocks, and the allocation of clusters.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/qcow2_file.h"

#include <list>
#include <unordered_map>
#include <vector>

namespace calque::backends::qcow2 {

// Not safe from several threads: the image's lock guards it. Counts change in memory; write_back() puts them into the
// file, and the cache may do so at any time before. That is safe because of the order that the image keeps: a count is
// raised before anything refers to the cluster, and lowered once nothing on the platter refers to it, so that at worst
// a cluster is counted that nobody uses (a leak). Clusters are numbered; sizes are in clusters.
class Refcounts {
  public:
    // `in_use`: other clusters that must not be given out although their count is 0, which then is a lie.
    Refcounts(File& file, std::function<bool(u64 cluster)> in_use) : file_(file), in_use_(std::move(in_use)) {}

    // Reads and checks the table.
    Result<void> load();

    int get(u64 cluster, u64& count);
    // Adds `delta` to the counts of `count` clusters. A count that would leave its range marks the image corrupt.
    int change(u64 first, u64 count, i64 delta);
    // Whether adding 1 would not fit (the image was made with narrow counts).
    int is_full(u64 cluster, bool& full);

    struct Run {
        u64 first = 0;
        u64 count = 0;
        bool zeros = false; // The file holds zeros there.
    };
    // At least one cluster and at most `wanted`, together, each with a count of 1.
    int allocate(u64 wanted, Run& run);
    // Exactly `wanted`.
    int allocate_together(u64 wanted, u64& first);
    // Writes what changed. With `new_blocks_only`, just what rebuilding the counts needs (lazy refcounts).
    int write_back(bool new_blocks_only = false);
    // Whether the table or a block is there.
    bool owns(u64 cluster) const;
    // Behind all clusters that were ever in use, as far as this session knows.
    u64 end() const { return fresh_from_; }
    // The clusters of the table and the blocks.
    std::vector<Run> places() const;

  private:
    struct Block {
        u64 index = 0;
        std::vector<u8> bytes;
        bool dirty = false;
    };
    using Blocks = std::list<Block>; // The most recently used first.

    const Geometry& geometry() const { return file_.geometry(); }
    u64 block_of(u64 cluster) const { return cluster >> geometry().refcounts_per_block_bits(); }
    u64 entry_of(u64 cluster) const { return cluster & (geometry().refcounts_per_block() - 1); }
    bool has_block(u64 index) const { return index < table_.size() && table_[index] != 0; }
    int find(u64 index, Block*& block); // Null where there is none.
    int make_room();
    int write_block(Block& block);
    int write_table_entries(u64 first, u64 count);
    int create_block(u64 cluster);
    int grow_table(u64 first_cluster);
    int write_grown(const std::vector<u64>& table, u64 table_at, u64 first_block, std::vector<Block>& blocks);
    int check_free(u64 cluster);
    u64 load_count(const Block& block, u64 entry) const;
    void store_count(Block& block, u64 entry, u64 count);

    int find_together(u64 wanted, u64& at);

    File& file_;
    std::function<bool(u64)> in_use_;
    std::vector<u64> table_;       // Offsets of blocks; 0: none.
    std::vector<u64> new_entries_; // Indices of table entries that the file does not have yet.
    Blocks blocks_;
    std::unordered_map<u64, Blocks::iterator> cached_;
    std::unordered_map<u64, u64> block_clusters_; // Cluster of a block -> index in the table.
    u64 free_from_ = 0;                           // All clusters below are in use.
    u64 fresh_from_ = 0;                          // No cluster from here on was ever in use.
};

} // namespace calque::backends::qcow2
