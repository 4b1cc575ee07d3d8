#include "frontend/backends/block/nbd_image.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <libnbd.h>
#include <thread>

namespace calque::backends {

namespace {

constexpr u64 largest_transfer = 2 << 20;
constexpr u64 largest_range = u64{1} << 30; // Of trims and zeroes, whose length has 32 bits.
constexpr unsigned connections_at_most = 4;
constexpr std::chrono::milliseconds retry_interval{100};
constexpr i64 largest_minimum_block = 512;

} // namespace

class NbdImage::Connection {
  public:
    Connection() : handle_(nbd_create()) {}
    ~Connection() {
        if (handle_) nbd_close(handle_);
    }
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    nbd_handle* get() const { return handle_; }
    bool lost() const { return nbd_aio_is_dead(handle_) != 0 || nbd_aio_is_closed(handle_) != 0; }

  private:
    nbd_handle* const handle_;
};

// One of the connections, for the length of a request.
class NbdImage::Lease {
  public:
    explicit Lease(NbdImage& image) : image_(image) {
        std::unique_lock lock(image_.mutex_);
        image_.returned_.wait(lock, [&] { return !image_.idle_.empty(); });
        connection = std::move(image_.idle_.back());
        image_.idle_.pop_back();
    }
    ~Lease() {
        std::lock_guard lock(image_.mutex_);
        image_.idle_.push_back(std::move(connection));
        image_.returned_.notify_one();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    std::unique_ptr<Connection> connection;

  private:
    NbdImage& image_;
};

NbdImage::NbdImage(NbdAddress address, Options options)
    : address_(std::move(address)), options_(std::move(options)), name_(address_.text()) {}

NbdImage::~NbdImage() {
    for (const auto& connection : idle_)
        if (connection && !connection->lost()) nbd_shutdown(connection->get(), 0);
}

Result<std::unique_ptr<NbdImage::Connection>> NbdImage::connect() const {
    auto connection = std::make_unique<Connection>();
    nbd_handle* const handle = connection->get();
    const bool connected =
        handle && nbd_set_export_name(handle, address_.export_name.c_str()) == 0
        && (address_.unix_path.empty() ? nbd_connect_tcp(handle, address_.host.c_str(), address_.port.c_str())
                                       : nbd_connect_unix(handle, address_.unix_path.c_str()))
               == 0;
    if (!connected)
        return error("'{}' cannot be opened: {}", name_, nbd_get_error() ? nbd_get_error() : "libnbd failed");
    return connection;
}

Result<std::unique_ptr<NbdImage>> NbdImage::open(const NbdAddress& address, Options options) {
    std::unique_ptr<NbdImage> image(new NbdImage(address, std::move(options)));
    auto connected = image->connect();
    if (!connected) return connected.error();
    nbd_handle* const handle = (*connected)->get();
    const i64 size = nbd_get_size(handle);
    if (size < 0) return error("'{}' does not say how large it is: {}", image->name_, nbd_get_error());
    if (const i64 block = nbd_get_block_size(handle, LIBNBD_SIZE_MINIMUM); block > largest_minimum_block)
        return error("'{}' takes nothing smaller than {} bytes, and disks have sectors of 512", image->name_, block);
    const bool export_read_only = nbd_is_read_only(handle) == 1;
    if (export_read_only && !image->options_.read_only)
        return error("'{}' can only be read; use readonly=on or -snapshot", image->name_);
    image->size_ = static_cast<u64>(size);
    image->read_only_ = image->options_.read_only;
    image->can_flush_ = nbd_can_flush(handle) == 1;
    image->can_trim_ = nbd_can_trim(handle) == 1;
    image->can_zero_ = nbd_can_zero(handle) == 1;
    image->most_connections_ = nbd_can_multi_conn(handle) == 1 ? connections_at_most : 1;
    image->idle_.resize(image->most_connections_ - 1);
    image->idle_.push_back(std::move(*connected));
    return image;
}

// Tries until the time is over; once that failed, later requests try once, until the server is back.
int NbdImage::reconnect(std::unique_ptr<Connection>& connection) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(options_.reconnect_seconds);
    for (;;) {
        if (auto fresh = connect()) {
            if (nbd_get_size((*fresh)->get()) != static_cast<i64>(size_)) return EIO; // Another disk.
            connection = std::move(*fresh);
            if (server_gone_.exchange(false) && options_.report) options_.report(fmt::format("'{}' is back", name_));
            return 0;
        }
        if (server_gone_) return EIO;
        if (std::chrono::steady_clock::now() >= end) break;
        std::this_thread::sleep_for(retry_interval);
    }
    if (!server_gone_.exchange(true) && options_.report)
        options_.report(fmt::format("the connection to '{}' was lost and cannot be made again", name_));
    return EIO;
}

// `command` gives what libnbd's function gave. All of them can be repeated.
template <class Command> int NbdImage::run(bool change, const Command& command) {
    Lease lease(*this);
    for (int attempt = 0;; ++attempt) {
        if (!lease.connection || lease.connection->lost()) {
            lease.connection.reset();
            if (const int error = reconnect(lease.connection)) return error;
        }
        if (command(lease.connection->get()) == 0) {
            if (change) ++writes_;
            return 0;
        }
        const int error = nbd_get_errno();
        if (!lease.connection->lost()) return error != 0 ? error : EIO;
        if (writes_ != flushed_writes_) lost_writes_ = true;
        if (attempt > 0) return EIO;
    }
}

template <class Command>
int NbdImage::run_in_parts(bool change, u64 offset, u64 length, u64 part_size, const Command& command) {
    for (u64 done = 0; done < length;) {
        const u64 part = std::min(part_size, length - done);
        const int error = run(change, [&](nbd_handle* handle) { return command(handle, offset + done, done, part); });
        if (error != 0) return error;
        done += part;
    }
    return 0;
}

int NbdImage::check_range(u64 offset, u64 length, bool change) const {
    if (change && read_only_) return EROFS;
    return offset <= size_ && length <= size_ - offset ? 0 : EINVAL;
}

int NbdImage::read(u64 offset, std::span<u8> data) {
    if (const int error = check_range(offset, data.size(), false)) return error;
    return run_in_parts(false, offset, data.size(), largest_transfer,
                        [&](nbd_handle* handle, u64 at, u64 done, u64 part) {
                            return nbd_pread(handle, data.data() + done, part, at, 0);
                        });
}

int NbdImage::write(u64 offset, std::span<const u8> data) {
    if (const int error = check_range(offset, data.size(), true)) return error;
    return run_in_parts(true, offset, data.size(), largest_transfer,
                        [&](nbd_handle* handle, u64 at, u64 done, u64 part) {
                            return nbd_pwrite(handle, data.data() + done, part, at, 0);
                        });
}

int NbdImage::flush() {
    if (read_only_) return 0;
    const u64 before = writes_;
    const int error = can_flush_ ? run(false, [](nbd_handle* handle) { return nbd_flush(handle, 0); }) : 0;
    if (lost_writes_.exchange(false)) return EIO;
    if (error == 0) flushed_writes_ = before;
    return error;
}

int NbdImage::resize(u64) { return read_only_ ? EROFS : ENOTSUP; } // NBD cannot.

int NbdImage::discard(u64 offset, u64 length) {
    if (const int error = check_range(offset, length, true)) return error;
    if (!can_trim_) return 0;
    return run_in_parts(true, offset, length, largest_range,
                        [](nbd_handle* handle, u64 at, u64, u64 part) { return nbd_trim(handle, part, at, 0); });
}

int NbdImage::write_zeroes(u64 offset, u64 length, bool may_unmap) {
    if (const int error = check_range(offset, length, true)) return error;
    if (can_zero_) {
        const u32 flags = may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE;
        return run_in_parts(true, offset, length, largest_range, [&](nbd_handle* handle, u64 at, u64, u64 part) {
            return nbd_zero(handle, part, at, flags);
        });
    }
    const std::vector<u8> zeros(std::min(length, largest_transfer));
    return run_in_parts(true, offset, length, largest_transfer, [&](nbd_handle* handle, u64 at, u64, u64 part) {
        return nbd_pwrite(handle, zeros.data(), part, at, 0);
    });
}

} // namespace calque::backends
