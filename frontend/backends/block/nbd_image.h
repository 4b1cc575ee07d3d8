// A disk on a server that speaks NBD, through libnbd.
#pragma once

#include "base/result.h"
#include "frontend/backends/block/image.h"
#include "frontend/backends/block/nbd_address.h"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace calque::backends {

// Requests run in parallel on several connections where the server says that they see each other's writes, and in turn
// on one otherwise. A connection that is lost is made anew and the request repeated; what cannot be repeated in time
// is EIO. If it was lost with writes that were not flushed, the next flush() fails: the server may have lost them.
class NbdImage final : public BlockImage {
  public:
    struct Options {
        bool read_only = false;
        unsigned reconnect_seconds = 5; // How long a request tries to get the connection back.
        std::function<void(const std::string&)> report;
    };
    // Errors: no server there, no such export, a read-only export that is to be written.
    static Result<std::unique_ptr<NbdImage>> open(const NbdAddress& address, Options options);
    ~NbdImage() override;

    u64 size() const override { return size_; }
    bool read_only() const override { return read_only_; }
    const std::string& name() const override { return name_; }
    int read(u64 offset, std::span<u8> data) override;
    int write(u64 offset, std::span<const u8> data) override;
    int flush() override;
    int discard(u64 offset, u64 length) override;
    int write_zeroes(u64 offset, u64 length, bool may_unmap) override;
    int resize(u64 size) override;

  private:
    class Connection;
    class Lease;
    NbdImage(NbdAddress address, Options options);
    Result<std::unique_ptr<Connection>> connect() const;
    int reconnect(std::unique_ptr<Connection>& connection);
    template <class Command> int run(bool change, const Command& command);
    template <class Command>
    int run_in_parts(bool change, u64 offset, u64 length, u64 part_size, const Command& command);
    int check_range(u64 offset, u64 length, bool change) const;

    const NbdAddress address_;
    const Options options_;
    const std::string name_;
    bool read_only_ = false;
    u64 size_ = 0;
    bool can_flush_ = false, can_trim_ = false, can_zero_ = false;
    unsigned most_connections_ = 1;

    std::mutex mutex_; // Guards what follows.
    std::condition_variable returned_;
    std::vector<std::unique_ptr<Connection>> idle_; // Null: may be connected.
    std::atomic<u64> writes_{0};                    // How many the server has taken,
    std::atomic<u64> flushed_writes_{0};            // and how many of them it had when it was last flushed.
    std::atomic<bool> lost_writes_{false};
    std::atomic<bool> server_gone_{false}; // The last attempt to get a connection back failed: do not wait again.
};

} // namespace calque::backends
