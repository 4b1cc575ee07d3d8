#include "frontend/backends/block/disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace calque::backends {

using devices::BlockRequest;
using devices::BlockStatus;
using Kind = BlockRequest::Kind;

namespace {

constexpr u64 sector = devices::BlockBackend::sector;

// A file whose last sector is not whole: what it lacks reads as zeros.
u64 whole_sectors(u64 bytes) { return (bytes + sector - 1) / sector * sector; }

u64 length_of(const BlockRequest& request) {
    if (request.kind != Kind::read && request.kind != Kind::write) return request.length;
    u64 length = 0;
    for (const auto& buffer : request.buffers)
        length += buffer.size();
    return length;
}

bool changes(Kind kind) { return kind == Kind::write || kind == Kind::discard || kind == Kind::write_zeroes; }

BlockStatus status_of(int error) {
    switch (error) {
    case 0: return BlockStatus::ok;
    case ENOSPC:
    case EDQUOT: return BlockStatus::no_space;
    case EROFS: return BlockStatus::read_only;
    case EINVAL: return BlockStatus::out_of_range;
    default: return BlockStatus::io_error;
    }
}

std::string_view name_of(Kind kind) {
    switch (kind) {
    case Kind::read: return "read";
    case Kind::write: return "write";
    case Kind::flush: return "flush";
    case Kind::discard: return "discard";
    default: return "write zeroes";
    }
}

} // namespace

Result<ErrorAction> parse_error_action(std::string_view option, std::string_view text) {
    if (text == "report") return ErrorAction::report;
    if (text == "ignore") return ErrorAction::ignore;
    if (text == "stop") return ErrorAction::stop;
    if (option == "werror" && text == "enospc") return ErrorAction::enospc;
    return error("{}={} does not exist; there are: report, ignore, stop{}", option, text,
                 option == "werror" ? ", enospc" : "");
}

Disk::Disk(IoPool& pool, Log& log, DiskOptions options, Image image)
    : pool_(pool), log_(log), options_(std::move(options)), write_cache_(options_.write_cache),
      image_(std::move(image)) {}

Disk::~Disk() {
    drain();
    if (image_ && image_->flush() != 0)
        log_.write(Channel::disk, fmt::format("{}: the last flush of '{}' failed", options_.id, image_->name()));
}

Disk::Image Disk::image() const {
    std::lock_guard lock(mutex_);
    return image_;
}

bool Disk::has_medium() const { return image() != nullptr; }

u64 Disk::size() const {
    const Image image = this->image();
    return image ? whole_sectors(image->size()) : 0;
}

bool Disk::read_only() const {
    const Image image = this->image();
    return image && active_ && image->read_only();
}

void Disk::set_reopen(Reopen reopen, bool active) {
    reopen_ = std::move(reopen);
    active_ = active;
}

Result<void> Disk::set_active(bool active) {
    // What was put in later is not what could be opened again; what is only read needs no change.
    if (active == active_ || !reopen_ || changes_ != 0 || !has_medium() || (active_ && read_only())) return {};
    if (active_ && flush_now() != 0) return error("the last flush of {} failed", options_.id);
    const auto replace = [&](Image image) {
        std::lock_guard lock(mutex_);
        return std::exchange(image_, std::move(image));
    };
    replace(nullptr); // Its lock goes with it.
    auto image = reopen_(active);
    if (!image) {
        if (auto as_before = reopen_(active_)) replace(std::move(*as_before));
        return image.error();
    }
    replace(std::move(*image));
    active_ = active;
    return {};
}

void Disk::submit(BlockRequest request) {
    {
        std::lock_guard lock(mutex_);
        ++under_way_;
    }
    // The job is shared: std::function wants to copy what it holds.
    pool_.submit([this, job = std::make_shared<BlockRequest>(std::move(request))] { run(std::move(*job)); });
}

// Whatever is out of the ordinary goes the long way, which has the words for it.
std::optional<BlockStatus> Disk::try_now(const BlockRequest& request) {
    if (request.kind != Kind::read) return std::nullopt;
    const Image image = this->image();
    if (refuse(request, image.get())) return std::nullopt;
    u64 offset = request.offset;
    for (const std::span<u8> buffer : request.buffers) {
        if (!image->read_now(offset, buffer)) return std::nullopt;
        offset += buffer.size();
    }
    count(request, 0);
    return BlockStatus::ok;
}

void Disk::count(const BlockRequest& request, int error) {
    const bool read = request.kind == Kind::read;
    if (error != 0) {
        ++(read ? counters_.failed_reads : counters_.failed_writes);
        return;
    }
    switch (request.kind) {
    case Kind::read:
        ++counters_.reads;
        counters_.bytes_read += length_of(request);
        break;
    case Kind::write:
    case Kind::write_zeroes:
        ++counters_.writes;
        counters_.bytes_written += length_of(request);
        break;
    case Kind::flush: ++counters_.flushes; break;
    case Kind::discard: ++counters_.discards; break;
    }
}

std::optional<BlockStatus> Disk::refuse(const BlockRequest& request, const BlockImage* image) const {
    if (!image) return BlockStatus::no_medium;
    if (request.kind == Kind::flush) return std::nullopt;
    const u64 length = length_of(request), size = whole_sectors(image->size());
    if (request.offset % sector || length % sector || request.offset > size || length > size - request.offset)
        return BlockStatus::out_of_range;
    if (changes(request.kind) && image->read_only()) return BlockStatus::read_only;
    return std::nullopt;
}

void Disk::run(BlockRequest request) {
    const Image image = this->image();
    std::optional<BlockStatus> status = refuse(request, image.get());
    if (!status) {
        const int error = perform(request, *image);
        count(request, error);
        status = error == 0 ? BlockStatus::ok : judge(request, error);
    }
    if (status && request.done) request.done(*status);
    finished();
}

void Disk::finished() {
    std::lock_guard lock(mutex_);
    if (--under_way_ == 0) idle_.notify_all();
}

int Disk::perform(const BlockRequest& request, BlockImage& image) {
    // The end of a file whose last sector is not whole stays as it is.
    const u64 inside = request.offset < image.size() ? std::min(request.length, image.size() - request.offset) : 0;
    int error = 0;
    switch (request.kind) {
    case Kind::read:
    case Kind::write: error = transfer(request, image); break;
    case Kind::flush: return image.flush();
    case Kind::discard: return options_.discards && inside ? image.discard(request.offset, inside) : 0;
    case Kind::write_zeroes:
        error = inside ? image.write_zeroes(request.offset, inside, request.may_unmap && options_.discards) : 0;
        break;
    }
    const bool durable = changes(request.kind) && (request.force_unit_access || !write_cache_);
    return error == 0 && durable ? image.flush() : error;
}

int Disk::transfer(const BlockRequest& request, BlockImage& image) {
    u64 offset = request.offset;
    for (const std::span<u8> buffer : request.buffers) {
        const u64 size = image.size();
        const std::size_t inside = offset < size ? std::min<u64>(buffer.size(), size - offset) : 0;
        const auto part = buffer.first(inside);
        if (inside != 0)
            if (const int error = request.kind == Kind::read ? image.read(offset, part) : image.write(offset, part))
                return error;
        if (request.kind == Kind::read)
            std::fill(buffer.begin() + static_cast<std::ptrdiff_t>(inside), buffer.end(), u8{0});
        offset += buffer.size();
    }
    return 0;
}

std::optional<BlockStatus> Disk::judge(BlockRequest& request, int error) {
    ErrorAction action = request.kind == Kind::read ? options_.on_read_error : options_.on_write_error;
    if (action == ErrorAction::enospc)
        action = status_of(error) == BlockStatus::no_space ? ErrorAction::stop : ErrorAction::report;
    const std::string what = fmt::format("{}: {} at {:#x} failed: {}", options_.id, name_of(request.kind),
                                         request.offset, std::strerror(error));
    log_.trace(Channel::disk, "{}", what);
    if (action == ErrorAction::stop && !stop_) action = ErrorAction::report;
    if (watcher_.failed) watcher_.failed(request.kind != Kind::read, error, action);
    if (action == ErrorAction::ignore) return BlockStatus::ok;
    if (action == ErrorAction::report) return status_of(error);
    {
        std::lock_guard lock(mutex_);
        held_.push_back(std::move(request));
    }
    stop_(what);
    return std::nullopt;
}

void Disk::drain() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return under_way_ == 0; });
}

bool Disk::holds_requests() const {
    std::lock_guard lock(mutex_);
    return !held_.empty();
}

void Disk::resume() {
    std::vector<BlockRequest> again;
    {
        std::lock_guard lock(mutex_);
        again.swap(held_);
    }
    for (BlockRequest& request : again)
        submit(std::move(request));
}

void Disk::give_up_held() {
    std::vector<BlockRequest> forgotten;
    std::lock_guard lock(mutex_);
    forgotten.swap(held_);
}

int Disk::flush_now() {
    const Image image = this->image();
    return image ? image->flush() : 0;
}

Result<void> Disk::change_medium(Image image, bool force) {
    if (!options_.removable) return error("{} is not removable", options_.id);
    if (locked_ && !force) {
        if (observer_) observer_(true);
        return error("the guest has locked {}; try again after it has unmounted the medium, or force it with -f",
                     options_.id);
    }
    Image old;
    const bool inserted = image != nullptr;
    {
        std::lock_guard lock(mutex_);
        old = std::exchange(image_, std::move(image));
        ++changes_;
    }
    if (force) locked_ = false;
    if (old && old->flush() != 0)
        log_.write(Channel::disk, fmt::format("{}: the last flush of '{}' failed", options_.id, old->name()));
    if (observer_) observer_(false);
    if (watcher_.tray_moved && old) watcher_.tray_moved(true);
    if (watcher_.tray_moved && inserted) watcher_.tray_moved(false);
    return {};
}

} // namespace calque::backends
