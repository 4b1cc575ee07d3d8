// A drive of the machine: an image behind the interface that devices use, served by a pool of threads.
#pragma once

#include "base/log.h"
#include "base/result.h"
#include "devices/block_backend.h"
#include "frontend/backends/block/image.h"
#include "frontend/backends/block/io_pool.h"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace calque::backends {

// What becomes of a request that the host could not do: -drive werror= and rerror=.
enum class ErrorAction : u8 {
    report, // The guest gets an error.
    ignore, // The guest is told that it went well.
    stop,   // The machine stops; when it goes on, the request is tried again.
    enospc, // stop when the host has no room left, report otherwise.
};
// `option` is "werror" or "rerror", for the message; rerror has no enospc.
Result<ErrorAction> parse_error_action(std::string_view option, std::string_view text);

struct DiskOptions {
    std::string id;       // For people: -drive id=, or "ide0-hd0".
    std::string serial;   // What the drive tells the guest; empty: the device chooses.
    std::string format{}; // Of the image at the start, where it was named.
    bool removable = false;
    bool disc = false;       // Its media are only read.
    bool write_cache = true; // What the guest finds at power-on.
    bool discards = true;    // Pass discards on.
    ErrorAction on_write_error = ErrorAction::enospc;
    ErrorAction on_read_error = ErrorAction::report;
};

// What a drive has done. Any thread.
struct DiskCounters {
    std::atomic<u64> reads{0}, writes{0}, flushes{0}, discards{0};
    std::atomic<u64> bytes_read{0}, bytes_written{0};
    std::atomic<u64> failed_reads{0}, failed_writes{0}; // Of the host's.
};

class Disk final : public devices::BlockBackend {
  public:
    using Image = std::shared_ptr<BlockImage>;

    // `image` may be null for a removable drive. The pool must outlive the disk.
    Disk(IoPool& pool, Log& log, DiskOptions options, Image image);
    ~Disk() override; // Waits for what is under way, then flushes.

    void submit(devices::BlockRequest request) override;
    std::optional<devices::BlockStatus> try_now(const devices::BlockRequest& request) override;
    bool has_medium() const override;
    u64 size() const override;
    bool read_only() const override;
    u32 medium_changes() const override { return changes_; }
    void lock_medium(bool locked) override { locked_ = locked; }
    void set_medium_observer(std::function<void(bool)> observer) override { observer_ = std::move(observer); }
    bool write_cache() const override { return write_cache_; }
    void set_write_cache(bool on) override { write_cache_ = on; }
    bool discards() const override { return options_.discards; }
    std::string serial() const override { return options_.serial; }

    // --- For the machine and its monitor.
    const DiskOptions& options() const { return options_; }
    // Called on a pool thread when a request waits for the machine to go on: it is to stop. `why` is for people.
    void set_stop_request(std::function<void(const std::string& why)> stop) { stop_ = std::move(stop); }
    // For those who watch; on any thread, and neither may call back.
    struct Observer {
        std::function<void(bool write, int error, ErrorAction action)> failed; // The host could not do a request.
        std::function<void(bool open)> tray_moved;
    };
    void set_watcher(Observer watcher) { watcher_ = std::move(watcher); }
    // Waits until nothing is under way. What waits for the machine to go on is not under way.
    void drain();
    bool holds_requests() const; // Some wait for the machine to go on.
    void resume();               // Tries these again.
    void give_up_held();         // Forgets them, without a word to whoever asked: it is gone.
    int flush_now();             // Waits for it. 0 or an errno value.
    const DiskCounters& counters() const { return counters_; }
    bool medium_locked() const { return locked_; }
    Image image() const;
    // A disk that another process writes to, before or after this one, is inactive meanwhile: its image is open for
    // reading and not locked. `reopen` opens it again, for writing or so. Without it the disk is always active.
    using Reopen = std::function<Result<Image>(bool active)>;
    void set_reopen(Reopen reopen, bool active);
    bool active() const { return active_; }
    // While nothing is under way. When it fails the disk is as it was, or has no medium when that fails too.
    Result<void> set_active(bool active);
    // Puts a medium in or (null) takes it out; requests under way end with the old one. Errors: the drive is not
    // removable; the guest has locked it and `force` is not set.
    Result<void> change_medium(Image image, bool force);

  private:
    void run(devices::BlockRequest request);
    int perform(const devices::BlockRequest& request, BlockImage& image);
    int transfer(const devices::BlockRequest& request, BlockImage& image);
    std::optional<devices::BlockStatus> refuse(const devices::BlockRequest& request, const BlockImage* image) const;
    // Null: the request was put aside.
    std::optional<devices::BlockStatus> judge(devices::BlockRequest& request, int error);
    void count(const devices::BlockRequest& request, int error);
    void finished();

    IoPool& pool_;
    Log& log_;
    const DiskOptions options_;
    std::function<void(bool)> observer_;
    std::function<void(const std::string&)> stop_;
    Observer watcher_;
    Reopen reopen_;
    std::atomic<bool> active_{true};
    std::atomic<u32> changes_{0};
    std::atomic<bool> locked_{false};
    std::atomic<bool> write_cache_;

    DiskCounters counters_;
    mutable std::mutex mutex_;
    std::condition_variable idle_;
    Image image_;
    u64 under_way_ = 0;
    std::vector<devices::BlockRequest> held_;
};

} // namespace calque::backends
