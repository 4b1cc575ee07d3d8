// qcow2 images, version 3, and version 2: read, written, with backing files and internal snapshots.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/image.h"
#include "frontend/backends/block/qcow2_compressed.h"
#include "frontend/backends/block/qcow2_file.h"
#include "frontend/backends/block/qcow2_frees.h"
#include "frontend/backends/block/qcow2_refcounts.h"
#include "frontend/backends/block/qcow2_snapshots.h"
#include "frontend/backends/block/qcow2_tables.h"

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace calque::backends {

// How the file is kept whole. Data goes to its place at once; tables stay in memory until a flush (or until the cache
// is full), and are then written in this order: refcounts and tables that nothing names yet; a flush of the file; the
// entries that change what the file means; a flush again. Clusters that are no longer used are counted as free after
// that. So the file is whole at every moment, whatever ends the process or the host: at worst clusters are counted
// that nobody uses, and what was not flushed is as it was before.
//
// Reads and writes run in parallel outside the lock. Writes that need a new place for the same cluster wait for each
// other; operations on the whole image (snapshots, resize) wait until nothing else runs.
class Qcow2Image final : public BlockImage {
  public:
    struct Options {
        bool read_only = false;
        bool writethrough = false; // Each write is flushed before it returns.
        qcow2::Report report;      // Hears of damage found on the way.
    };
    // `file` holds the image; it is open for writing unless options.read_only. `backing` gives what the image lacks, or
    // is null; it is only read. An image that was not closed (dirty bit) is repaired when it is opened for writing.
    static Result<std::unique_ptr<Qcow2Image>> open(std::unique_ptr<BlockImage> file,
                                                    std::unique_ptr<BlockImage> backing, Options options);
    ~Qcow2Image() override;

    u64 size() const override { return size_; }
    bool read_only() const override { return options_.read_only; }
    const std::string& name() const override { return name_; }
    int read(u64 offset, std::span<u8> data) override;
    int write(u64 offset, std::span<const u8> data) override;
    int flush() override;
    int discard(u64 offset, u64 length) override;
    int write_zeroes(u64 offset, u64 length, bool may_unmap) override;
    int resize(u64 size) override;

    // Writes what is in memory, frees what is free, ends the file after what is used. The destructor does it too,
    // without a way to say that it failed. No request after that.
    int close();

    const qcow2::Header& header() const { return file_.header; }
    u64 file_size() const { return file_.size(); }
    BlockImage* backing() const { return backing_.get(); }

    // Internal snapshots, by ID or by name. Errors are sentences.
    Result<std::vector<qcow2::Snapshot>> snapshots();
    struct NewSnapshot {
        std::string name;
        u64 seconds = 0; // Since 1970.
        u32 nanoseconds = 0;
        u64 guest_nanoseconds = 0; // How long the guest has been running.
    };
    Result<void> create_snapshot(const std::string& name, u64 seconds, u32 nanoseconds) {
        return create_snapshot({name, seconds, nanoseconds, 0}, nullptr);
    }
    // With `state` (or null) the snapshot gets the machine; whatever happens, the draft is empty afterwards.
    Result<void> create_snapshot(const NewSnapshot& about, qcow2::StateDraft* state);
    // Makes the disk what it was then, in size too.
    Result<void> apply_snapshot(const std::string& id_or_name);
    Result<void> delete_snapshot(const std::string& id_or_name);

    // A machine's state for a snapshot to come, appended while the disk is in use; and given up.
    Result<void> append_state(qcow2::StateDraft& draft, std::span<const u8> bytes);
    void drop_state(qcow2::StateDraft& draft);
    Result<void> flush_state(); // What was appended so far is on the platter.
    // The machine of a snapshot. Good while the snapshot is there.
    Result<qcow2::SavedState> find_state(const std::string& id_or_name);
    int read_state(const qcow2::SavedState& state, u64 offset, std::span<u8> bytes);

    // Bytes from `offset` on (at most `length`) that this file gives the same way.
    struct Status {
        u64 length = 0;
        bool here = false; // In this file; otherwise in the backing file.
        bool zero = false; // Reads as zeros, without looking at any data.
    };
    int status(u64 offset, u64 length, Status& status);

  private:
    // Where a stretch of the disk is.
    struct Extent {
        enum class Kind : u8 { unallocated, zero, data, compressed } kind = Kind::unallocated;
        u64 host = 0;   // Offset in the file, of data.
        u64 length = 0; // In bytes.
        u64 entry = 0;  // Of a compressed cluster.
    };
    // A run of clusters that gets a new place.
    struct Move {
        u64 guest = 0; // The first cluster's number on the disk.
        u64 count = 0;
        u64 host = 0;        // The first cluster's number in the file.
        bool zeros = false;  // The file holds zeros there.
        bool reused = false; // The place was the cluster's already, behind a zero flag.
        u64 first_old = 0;   // The entries that the first and the last cluster had.
        u64 last_old = 0;
    };
    class Request;
    class Exclusive;
    using Lock = std::unique_lock<std::mutex>;

    Qcow2Image(std::unique_ptr<BlockImage> file, std::unique_ptr<BlockImage> backing, qcow2::Header header,
               Options options);
    Result<void> load();
    Result<void> check_places() const;
    bool owns(u64 cluster) const;

    // Mapping.
    const qcow2::Geometry& geometry() const { return file_.geometry(); }
    u32 l1_index(u64 guest) const { return static_cast<u32>(guest >> geometry().l2_bits()); }
    u64 l2_index(u64 guest) const { return guest & (geometry().l2_entries() - 1); }
    int find_table(Lock& lock, u32 index, qcow2::Table*& table);
    int find_table_to_change(Lock& lock, u32 index, qcow2::Table*& table);
    int check_table(qcow2::Table& table);
    Extent classify(u64 entry) const;
    int map(Lock& lock, u64 offset, u64 length, Extent& extent);
    int read_extent(const Extent& extent, u64 offset, std::span<u8> data);
    int read_backing(u64 offset, std::span<u8> data);
    bool backing_covers(u64 offset) const { return backing_ && offset < backing_->size(); }
    int wrong_entry(u64 guest, u64 entry);

    // Writing.
    bool is_moving(u64 first, u64 count) const;
    void wait_until_still(Lock& lock, u64 first, u64 count);
    int write_some(u64 offset, std::span<const u8> data, u64& done);
    int begin_move(Lock& lock, u64 guest, u64 most, qcow2::Table* table, Move& move);
    int end_move(Lock& lock, const Move& move, int error);
    int write_moved(const Move& move, u64 offset, std::span<const u8> data);
    int fill_around(const Move& move, u64 offset, std::span<const u8> data, u64 head, u64 tail);
    qcow2::Refcounts::Run clusters_of(u64 entry) const;
    void release(u64 entry, bool unmap);
    struct Zeroing {
        bool discard = false; // What cannot be told to be zeros may stay as it is.
        bool unmap = false;   // The place need not be kept.
    };
    static constexpr int left_to_write = -2;
    int zero_range(u64 offset, u64 length, const Zeroing& how);
    int zero_clusters(Lock& lock, u64 first, u64 count, const Zeroing& how, u64& done);
    int write_zero_bytes(u64 offset, u64 length);
    int begin_changes(Lock& lock);
    int check_request(u64 offset, u64 length, bool change) const;
    int finish_change(int error) { return error == 0 && options_.writethrough ? flush() : error; }

    // Committing; `commit_mutex_` is held.
    int commit();
    int commit_and_settle();
    void apply_frees(Lock& lock);
    int write_batch(const qcow2::Batch& batch);

    // Operations on the whole image; everything else has stopped and the tables in memory are clean.
    int grow_l1(u64 entries);
    int begin_edit();
    int end_edit(int error);
    int write_snapshots(const std::vector<qcow2::Snapshot>& list);
    int update_copied(std::vector<u64>& l1, u64 l1_offset, bool clear);
    int count_references(const std::vector<u64>& l1, i64 delta);
    int room_in_counts(const std::vector<u64>& l1);
    int take_snapshot(std::vector<qcow2::Snapshot>& list, qcow2::Snapshot snapshot, qcow2::StateDraft* state);
    int write_state_tables(const qcow2::StateDraft& draft, std::vector<u64>& l1);
    int switch_to(const qcow2::Snapshot& snapshot);
    int drop_snapshot(std::vector<qcow2::Snapshot>& list, const std::string& id_or_name);
    Error snapshot_error(const char* what, int code) const;

    qcow2::File file_;
    const std::unique_ptr<BlockImage> backing_;
    const Options options_;
    const std::string name_;
    std::atomic<u64> size_;
    qcow2::CompressedClusters compressed_;

    std::mutex mutex_; // Guards all that follows.
    std::condition_variable changed_;
    qcow2::Refcounts refcounts_;
    qcow2::Tables tables_;
    qcow2::Frees frees_;
    qcow2::Generations generations_;
    bool exclusive_ = false;
    std::vector<std::pair<u64, u64>> moving_; // Clusters of the disk: first and count.
    std::vector<qcow2::Refcounts::Run> snapshot_places_;
    bool changing_ = false; // The header says that the image is being changed, where it has to.
    bool closed_ = false;

    std::mutex commit_mutex_; // Taken before mutex_.
};

} // namespace calque::backends
