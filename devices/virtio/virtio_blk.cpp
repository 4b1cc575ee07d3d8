#include "devices/virtio/virtio_blk.h"

#include "base/byte_order.h"

#include <algorithm>
#include <array>
#include <bit>

namespace calque::devices {

namespace {

// Virtio 1.2, 5.2.3 and 5.2.6.
constexpr unsigned F_SEG_MAX = 2, F_RO = 5, F_BLK_SIZE = 6, F_FLUSH = 9, F_TOPOLOGY = 10, F_CONFIG_WCE = 11, F_MQ = 12,
                   F_DISCARD = 13, F_WRITE_ZEROES = 14;
constexpr u32 T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13;
constexpr u8 S_OK = 0, S_IOERR = 1, S_UNSUPP = 2;
constexpr unsigned writeback_offset = 32;

constexpr u64 sector = BlockBackend::sector;
constexpr u64 header_size = 16, range_size = 16, id_size = 20;
constexpr u64 largest_request = 32 << 20; // Bytes of data; drivers stay far below.
constexpr u64 largest_at_once = 64 << 10; // Bytes that a read copies on the thread that found it.
constexpr u64 most_under_way = 64 << 20;  // More waits in the queue.
constexpr unsigned most_a_turn = 64;      // Requests; then the vCPU that kicked goes on.
constexpr u32 most_ranges = 256;          // In one discard or write zeroes.
constexpr u32 most_sectors = 1 << 22;     // Of one range: 2 GiB.

u8 status_of(BlockStatus status) { return status == BlockStatus::ok ? S_OK : S_IOERR; }

} // namespace

u64 VirtioBlk::offered(const BlockBackend& backend, const VirtioBlkOptions& options) {
    const auto bit = [](unsigned n) { return u64{1} << n; };
    u64 features = bit(F_SEG_MAX) | bit(F_BLK_SIZE) | bit(F_FLUSH) | bit(F_TOPOLOGY) | bit(F_CONFIG_WCE);
    if (options.queues > 1) features |= bit(F_MQ);
    if (backend.read_only()) return features | bit(F_RO);
    if (backend.discards()) features |= bit(F_DISCARD);
    return features | bit(F_WRITE_ZEROES);
}

VirtioBlk::VirtioBlk(Log& log, DmaPort& memory, Worker& worker, BlockBackend& backend, VirtioBlkOptions options,
                     std::string name)
    : VirtioDevice(log, memory, virtio::Id::block, std::move(name), offered(backend, options)), backend_(backend),
      options_(std::move(options)), write_cache_at_reset_(backend.write_cache()), write_cache_(write_cache_at_reset_),
      owner_(std::make_shared<Owner>()) {
    owner_->device = this;
    for (unsigned i = 0; i < options_.queues; ++i)
        add_queue(
            worker, options_.queue_size, [this, i] { serve(i); }, true);
    backend_.set_medium_observer([owner = owner_](bool) {
        std::lock_guard alive(owner->mutex);
        if (!owner->device) return;
        std::lock_guard lock(owner->device->mutex());
        owner->device->config_changed(); // The capacity.
    });
}

VirtioBlk::~VirtioBlk() {
    backend_.set_medium_observer({});
    {
        std::lock_guard alive(owner_->mutex);
        owner_->device = nullptr;
    }
    end_tasks();
}

// --- Requests

void VirtioBlk::serve(unsigned queue) {
    for (unsigned taken = 0; under_way_ < most_under_way; ++taken) {
        if (taken == most_a_turn) {
            schedule(queue);
            break;
        }
        auto request = std::make_shared<Request>();
        if (!pop(queue, request->chain)) break;
        request->queue = queue;
        request->epoch = epoch_;
        start(std::move(request));
        if (!running()) return;
    }
    interrupt_if_wanted(queue);
}

// The status is the last byte that the device may write; without one there is nobody to tell.
void VirtioBlk::start(RequestPtr request) {
    std::array<u8, header_size> header;
    if (request->chain.writable_bytes() == 0 || !request->chain.read(memory(), 0, header))
        return needs_reset("a request without its header or status");
    const u32 type = little32(header, 0);
    const u64 first = little64(header, 8);
    log_.trace(Channel::disk, "{}: request {} at sector {:#x}, {} bytes out, {} in", name(), type, first,
               request->chain.readable_bytes() - header_size, request->chain.writable_bytes() - 1);
    switch (type) {
    case T_IN: return read(request, first);
    case T_OUT: return write(request, first);
    case T_FLUSH: {
        BlockRequest block{.kind = BlockRequest::Kind::flush};
        return submit(std::move(block), request,
                      [this, request](BlockStatus status) { finish(*request, status_of(status)); });
    }
    case T_GET_ID: {
        std::array<u8, id_size> id{};
        std::copy_n(options_.serial.begin(), std::min<std::size_t>(options_.serial.size(), id.size()), id.begin());
        const u64 room = std::min<u64>(id.size(), request->chain.writable_bytes() - 1);
        if (!request->chain.write(memory(), 0, std::span(id).first(room)))
            return needs_reset("a buffer is not in memory");
        request->written = room;
        return finish(*request, S_OK);
    }
    case T_DISCARD:
    case T_WRITE_ZEROES:
        if (!negotiated(type == T_DISCARD ? F_DISCARD : F_WRITE_ZEROES)) return finish(*request, S_UNSUPP);
        return forget_ranges(request, type);
    default: return finish(*request, S_UNSUPP);
    }
}

void VirtioBlk::read(const RequestPtr& request, u64 first) {
    const u64 length = request->chain.writable_bytes() - 1;
    if (length % sector || length > largest_request || first > ~u64{0} / sector) return finish(*request, S_IOERR);
    request->data.resize(length);
    BlockRequest block{.kind = BlockRequest::Kind::read, .offset = first * sector, .buffers = {request->data}};
    if (length <= largest_at_once)
        if (const auto status = backend_.try_now(block)) return read_done(request, *status);
    submit(std::move(block), request, [this, request](BlockStatus status) { read_done(request, status); });
}

void VirtioBlk::read_done(const RequestPtr& request, BlockStatus status) {
    if (status == BlockStatus::ok) {
        if (!request->chain.write(memory(), 0, request->data)) return needs_reset("a buffer is not in memory");
        request->written = request->data.size();
    }
    finish(*request, status_of(status));
}

void VirtioBlk::write(const RequestPtr& request, u64 first) {
    const u64 length = request->chain.readable_bytes() - header_size;
    if (length % sector || length > largest_request || first > ~u64{0} / sector) return finish(*request, S_IOERR);
    request->data.resize(length);
    if (!request->chain.read(memory(), header_size, request->data)) return needs_reset("a buffer is not in memory");
    BlockRequest block{.kind = BlockRequest::Kind::write, .offset = first * sector, .buffers = {request->data}};
    submit(std::move(block), request, [this, request](BlockStatus status) { finish(*request, status_of(status)); });
}

void VirtioBlk::forget_ranges(const RequestPtr& request, u32 type) {
    const u64 length = request->chain.readable_bytes() - header_size;
    if (length == 0 || length % range_size || length > most_ranges * range_size) return finish(*request, S_IOERR);
    request->data.resize(length);
    if (!request->chain.read(memory(), header_size, request->data)) return needs_reset("a buffer is not in memory");
    next_range(request, type, 0);
}

// One after the other: a sector, a count, and flags whose only bit is "unmap", which discards must not have.
void VirtioBlk::next_range(const RequestPtr& request, u32 type, u64 at) {
    if (at == request->data.size()) return finish(*request, S_OK);
    const auto range = std::span<const u8>(request->data).subspan(at, range_size);
    const u64 first = little64(range, 0), count = little32(range, 8), flags = little32(range, 12);
    const bool unmap = flags & 1;
    if ((flags & ~u64{1}) || (type == T_DISCARD && unmap)) return finish(*request, S_UNSUPP);
    if (count > most_sectors || first > ~u64{0} / sector) return finish(*request, S_IOERR);
    BlockRequest block{.kind = type == T_DISCARD ? BlockRequest::Kind::discard : BlockRequest::Kind::write_zeroes,
                       .offset = first * sector,
                       .length = count * sector,
                       .may_unmap = unmap};
    submit(std::move(block), request, [this, request, type, at](BlockStatus status) {
        if (status != BlockStatus::ok) return finish(*request, S_IOERR);
        next_range(request, type, at + range_size);
    });
}

// `then` runs under the lock on a thread of the backend, unless the device was reset meanwhile.
void VirtioBlk::submit(BlockRequest block, RequestPtr request, std::function<void(BlockStatus)> then) {
    under_way_ += request->data.size();
    block.done = [owner = owner_, request = std::move(request), then = std::move(then)](BlockStatus status) {
        std::lock_guard alive(owner->mutex);
        VirtioBlk* const device = owner->device;
        if (!device) return;
        std::lock_guard lock(device->mutex());
        const bool waiting = device->under_way_ >= most_under_way;
        device->under_way_ -= request->data.size();
        if (request->epoch == device->epoch_ && device->running()) {
            then(status);
            device->interrupt_if_wanted(request->queue);
        }
        if (!waiting) return;
        for (unsigned i = 0; i < device->queue_count(); ++i)
            device->schedule(i);
    };
    backend_.submit(std::move(block));
}

void VirtioBlk::finish(Request& request, u8 status) {
    const u64 at = request.chain.writable_bytes() - 1;
    if (!request.chain.write(memory(), at, std::span(&status, 1))) return needs_reset("a buffer is not in memory");
    push(request.queue, request.chain.head, static_cast<u32>(std::min<u64>(request.written, ~u32{0} - 1) + 1));
}

// --- Configuration

std::vector<u8> VirtioBlk::config() {
    std::vector<u8> bytes(config_size);
    const auto put = [&](unsigned at, unsigned size, u64 value) { store_little(bytes, at, value, size); };
    put(0, 8, backend_.size() / sector);
    put(12, 4, options_.queue_size - 2u); // Segments: a queue's entries less header and status.
    put(20, 4, options_.logical_block);
    put(24, 1, static_cast<u64>(std::countr_zero(options_.physical_block / options_.logical_block)));
    put(26, 2, 1); // Minimum and optimum I/O, in blocks.
    put(writeback_offset, 1, write_cache_);
    put(34, 2, options_.queues);
    put(36, 4, most_sectors);
    put(40, 4, most_ranges);
    put(44, 4, options_.logical_block / sector);
    put(48, 4, most_sectors);
    put(52, 4, most_ranges);
    put(56, 1, 1); // Write zeroes may unmap.
    return bytes;
}

void VirtioBlk::config_written(u64 offset, u64 value, unsigned size) {
    if (offset > writeback_offset || offset + size <= writeback_offset || !negotiated(F_CONFIG_WCE)) return;
    write_cache_ = value >> (8 * (writeback_offset - offset)) & 1;
    backend_.set_write_cache(write_cache_);
}

// A driver that cannot flush must find each write on the platter (5.2.6.2).
void VirtioBlk::started() { backend_.set_write_cache(negotiated(F_FLUSH) ? write_cache_ : false); }

void VirtioBlk::stopped() {
    ++epoch_;
    write_cache_ = write_cache_at_reset_;
    backend_.set_write_cache(write_cache_);
}

void VirtioBlk::save(Archive& archive) { archive.field("write_cache", write_cache_); }

} // namespace calque::devices
