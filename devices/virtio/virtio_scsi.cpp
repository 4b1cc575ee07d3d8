#include "devices/virtio/virtio_scsi.h"

#include "base/byte_order.h"
#include "devices/virtio/virtio_scsi_registers.h"

#include <algorithm>

namespace calque::devices {

using namespace virtio_scsi;
using scsi::Step;

namespace {
constexpr u64 part_size = 1 << 20;       // Bytes of a command's data that are moved at a time.
constexpr u64 most_under_way = 64 << 20; // More waits in the queues.
constexpr u8 GOOD = 0x00, CHECK_CONDITION = 0x02;
constexpr u8 INQUIRY = 0x12, REQUEST_SENSE = 0x03, REPORT_LUNS = 0xA0;
} // namespace

VirtioScsi::VirtioScsi(Log& log, DmaPort& memory, Worker& worker, VirtioScsiOptions options, std::string name)
    : VirtioDevice(log, memory, virtio::Id::scsi, std::move(name), u64{1} << F_HOTPLUG | u64{1} << F_CHANGE),
      options_(options), owner_(std::make_shared<Owner>()) {
    owner_->device = this;
    add_queue(worker, options_.queue_size, [this] { serve_control(); });
    add_queue(worker, options_.queue_size, [this] { serve_events(); });
    for (unsigned i = 0; i < options_.queues; ++i)
        add_queue(worker, options_.queue_size, [this, i] { serve(i + first_request_queue); });
}

VirtioScsi::~VirtioScsi() {
    for (const auto& [address, unit] : units_)
        unit->backend().set_medium_observer({});
    {
        std::lock_guard alive(owner_->mutex);
        owner_->device = nullptr;
    }
    end_tasks();
}

bool VirtioScsi::attach(unsigned target, unsigned lun, std::unique_ptr<ScsiUnit> unit) {
    const Address address{target, lun};
    if (units_.contains(address)) return false;
    unit->backend().set_medium_observer([owner = owner_, address](bool wanted) {
        std::lock_guard alive(owner->mutex);
        if (!owner->device) return;
        std::lock_guard lock(owner->device->mutex());
        owner->device->medium_changed(address, wanted);
    });
    units_[address] = std::move(unit);
    return true;
}

// --- Requests

void VirtioScsi::serve(unsigned queue) {
    while (bytes_under_way_ < most_under_way) {
        auto request = std::make_shared<Request>();
        if (!pop(queue, request->chain)) break;
        request->queue = queue;
        request->epoch = epoch_;
        start(request);
        if (!running()) return;
    }
    interrupt_if_wanted(queue);
}

// 5.6.6.1: 1, a target, then a LUN of 14 bits.
bool VirtioScsi::decode(std::span<const u8> lun, Address& address) {
    address = {lun[1], u32{lun[2] & 0x3Fu} << 8 | lun[3]};
    return lun[0] == 1;
}

void VirtioScsi::start(const RequestPtr& request) {
    const u64 header_size = request_header + cdb_size_, response_size = response_header + sense_size_;
    std::vector<u8> header(header_size);
    if (request->chain.writable_bytes() < response_size || !request->chain.read(memory(), 0, header))
        return needs_reset("a request without its header or response");
    request->data_out = request->chain.readable_bytes() - header_size;
    request->data_in = request->chain.writable_bytes() - response_size;
    request->tag = little64(header, 8);
    std::copy_n(header.begin() + request_header, std::min<std::size_t>(cdb_size_, request->cdb.size()),
                request->cdb.begin());
    under_way_.push_back(request);
    const bool known = decode(header, request->address);
    log_.trace(Channel::disk, "{}: target {} lun {} command {:02x}, {} bytes out, {} in", name(),
               request->address.first, request->address.second, request->cdb[0], request->data_out, request->data_in);
    if (!known || !target_exists(request->address.first)) return finish(*request, S_BAD_TARGET, GOOD);
    begin(request);
}

bool VirtioScsi::target_exists(unsigned target) const {
    const auto first = units_.lower_bound({target, 0});
    return first != units_.end() && first->first.first == target;
}

void VirtioScsi::begin(const RequestPtr& request) {
    const auto& cdb = request->cdb;
    if (cdb[0] == REPORT_LUNS) {
        const u32 room = big32(cdb, 6);
        if (room < 16 || cdb[2] > 2) return check(*request, scsi::invalid_field);
        return proceed(request, Step::data(report_luns(request->address.first), room));
    }
    const auto unit = units_.find(request->address);
    proceed(request, unit == units_.end() ? without_unit(*request) : unit->second->execute(cdb));
}

// SPC-4, 5.10: what a LUN answers behind which there is nothing.
Step VirtioScsi::without_unit(const Request& request) const {
    if (request.cdb[0] == REQUEST_SENSE) return Step::data(scsi::fixed_sense(scsi::no_such_unit), request.cdb[4]);
    if (request.cdb[0] != INQUIRY || (request.cdb[1] & 1)) return Step::check(scsi::no_such_unit);
    std::vector<u8> bytes(36);
    bytes[0] = 0x7F;
    bytes[2] = 0x05;
    bytes[3] = 0x02;
    bytes[4] = 31;
    return Step::data(std::move(bytes), big16(request.cdb, 3));
}

// SPC-4, 6.33.
std::vector<u8> VirtioScsi::report_luns(unsigned target) const {
    std::vector<u8> bytes(8);
    for (const auto& [address, unit] : units_) {
        if (address.first != target) continue;
        std::array<u8, 8> lun{};
        lun[1] = static_cast<u8>(address.second);
        bytes.insert(bytes.end(), lun.begin(), lun.end());
    }
    store_big(bytes, 0, bytes.size() - 8, 4);
    return bytes;
}

void VirtioScsi::proceed(const RequestPtr& request, Step step) {
    Request& r = *request;
    r.step = std::move(step);
    const u32 block = units_.contains(r.address) ? units_[r.address]->block_size() : 512;
    const auto too_long = [&](u64 count, u64 unit, u64 room) { return count > room / unit; };
    switch (r.step.kind) {
    case Step::Kind::good: return finish(r, S_OK, GOOD);
    case Step::Kind::check: return check(r, r.step.sense);
    case Step::Kind::data:
        if (r.step.bytes.size() > r.data_in) return finish(r, S_OVERRUN, GOOD);
        if (!r.chain.write(memory(), response_header + sense_size_, r.step.bytes))
            return needs_reset("a buffer is not in memory");
        r.moved = r.step.bytes.size();
        return finish(r, S_OK, GOOD);
    case Step::Kind::read:
    case Step::Kind::write:
        if (too_long(r.step.count, block, r.step.kind == Step::Kind::read ? r.data_in : r.data_out))
            return finish(r, S_OVERRUN, GOOD);
        return move(request);
    case Step::Kind::receive: {
        if (r.step.count > r.data_out) return finish(r, S_OVERRUN, GOOD);
        std::vector<u8> parameters(r.step.count);
        if (!r.chain.read(memory(), request_header + cdb_size_, parameters))
            return needs_reset("a buffer is not in memory");
        r.moved = r.step.count;
        return proceed(request, units_[r.address]->received(r.cdb, parameters));
    }
    case Step::Kind::flush:
        return submit({.kind = BlockRequest::Kind::flush}, request, [this, request](BlockStatus status) {
            if (status != BlockStatus::ok) return check(*request, sense_of(status, false));
            finish(*request, S_OK, GOOD);
        });
    case Step::Kind::zero:
    case Step::Kind::discard: return change_ranges(request);
    case Step::Kind::fill: return fill_ranges(request);
    }
}

// The next part of a read or a write.
void VirtioScsi::move(const RequestPtr& request) {
    Request& r = *request;
    ScsiUnit& unit = *units_[r.address];
    const u64 total = r.step.count * unit.block_size(), length = std::min(part_size, total - r.moved);
    if (length == 0) return finish(r, S_OK, GOOD);
    const bool reading = r.step.kind == Step::Kind::read;
    r.buffer.resize(length);
    if (!reading && !r.chain.read(memory(), request_header + cdb_size_ + r.moved, r.buffer))
        return needs_reset("a buffer is not in memory");
    BlockRequest block{.kind = reading ? BlockRequest::Kind::read : BlockRequest::Kind::write,
                       .offset = r.step.first * unit.block_size() + r.moved,
                       .buffers = {r.buffer},
                       .force_unit_access = !reading && r.step.force_unit_access};
    submit(std::move(block), request, [this, request, reading](BlockStatus status) {
        if (status != BlockStatus::ok) return check(*request, sense_of(status, reading));
        if (reading && !request->chain.write(memory(), response_header + sense_size_ + request->moved, request->buffer))
            return needs_reset("a buffer is not in memory");
        request->moved += request->buffer.size();
        move(request);
    });
}

void VirtioScsi::change_ranges(const RequestPtr& request) {
    Request& r = *request;
    if (r.range == r.step.ranges.size()) return finish(r, S_OK, GOOD);
    const Step::Range range = r.step.ranges[r.range++];
    const u32 block = units_[r.address]->block_size();
    BlockRequest change{.kind = r.step.kind == Step::Kind::zero ? BlockRequest::Kind::write_zeroes
                                                                : BlockRequest::Kind::discard,
                        .offset = range.first * block,
                        .length = range.count * block,
                        .may_unmap = r.step.may_unmap};
    submit(std::move(change), request, [this, request](BlockStatus status) {
        if (status != BlockStatus::ok) return check(*request, sense_of(status, false));
        change_ranges(request);
    });
}

// The same block again and again.
void VirtioScsi::fill_ranges(const RequestPtr& request) {
    Request& r = *request;
    const u64 block = r.step.bytes.size();
    if (r.range == r.step.ranges.size()) return finish(r, S_OK, GOOD);
    const Step::Range range = r.step.ranges[r.range];
    const u64 count = std::min(range.count - r.in_range, part_size / block);
    r.buffer.resize(count * block);
    for (u64 i = 0; i < count; ++i)
        std::copy(r.step.bytes.begin(), r.step.bytes.end(), r.buffer.begin() + static_cast<std::ptrdiff_t>(i * block));
    BlockRequest write{
        .kind = BlockRequest::Kind::write, .offset = (range.first + r.in_range) * block, .buffers = {r.buffer}};
    submit(std::move(write), request, [this, request, count](BlockStatus status) {
        if (status != BlockStatus::ok) return check(*request, sense_of(status, false));
        request->in_range += count;
        if (request->in_range == request->step.ranges[request->range].count) {
            ++request->range;
            request->in_range = 0;
        }
        fill_ranges(request);
    });
}

// `then` runs under the lock on a thread of the backend, unless the device was reset or the command aborted meanwhile.
void VirtioScsi::submit(BlockRequest block, const RequestPtr& request, std::function<void(BlockStatus)> then) {
    const u64 size = request->buffer.size();
    bytes_under_way_ += size;
    block.done = [owner = owner_, request, size, then = std::move(then)](BlockStatus status) {
        std::lock_guard alive(owner->mutex);
        VirtioScsi* const device = owner->device;
        if (!device) return;
        std::lock_guard lock(device->mutex());
        const bool waiting = device->bytes_under_way_ >= most_under_way;
        device->bytes_under_way_ -= size;
        if (request->epoch == device->epoch_ && device->running()) {
            if (request->aborted)
                device->finish(*request, S_ABORTED, GOOD);
            else
                then(status);
            device->interrupt_if_wanted(request->queue);
        }
        if (!waiting) return;
        for (unsigned i = first_request_queue; i < device->queue_count(); ++i)
            device->schedule(i);
    };
    units_[request->address]->backend().submit(std::move(block));
}

void VirtioScsi::check(Request& request, scsi::Sense sense) {
    log_.trace(Channel::disk, "{}: sense {:x}/{:02x}/{:02x}", name(), sense.key, sense.code, sense.qualifier);
    finish(request, S_OK, CHECK_CONDITION, scsi::fixed_sense(sense));
}

// 5.6.6.1: lengths, the status and what went wrong, in front of the data.
void VirtioScsi::finish(Request& request, u8 response, u8 status, std::span<const u8> sense) {
    std::vector<u8> bytes(response_header + sense_size_);
    const std::size_t told = std::min<std::size_t>(sense.size(), sense_size_);
    const u64 room = request.data_in + request.data_out;
    store_little(bytes, 0, told, 4);
    store_little(bytes, 4, std::min<u64>(room - std::min(room, request.moved), ~u32{0}), 4); // Residual.
    bytes[10] = status;
    bytes[11] = response;
    std::copy_n(sense.begin(), told, bytes.begin() + response_header);
    std::erase_if(under_way_, [&](const RequestPtr& other) { return other.get() == &request; });
    if (!request.chain.write(memory(), 0, bytes)) return needs_reset("a buffer is not in memory");
    const u64 written = bytes.size() + (request.data_in ? std::min(request.moved, request.data_in) : 0);
    push(request.queue, request.chain.head, static_cast<u32>(std::min<u64>(written, ~u32{0})));
    for (const auto& management : request.managements) {
        --management->waits;
        settle_management(management);
    }
}

// --- Configuration

std::vector<u8> VirtioScsi::config() {
    std::vector<u8> bytes(config_size);
    const auto put = [&](unsigned at, unsigned size, u64 value) { store_little(bytes, at, value, size); };
    put(0, 4, options_.queues);
    put(4, 4, options_.queue_size - 2u);
    put(8, 4, options_.max_sectors);
    put(12, 4, options_.commands_per_unit);
    put(16, 4, event_size);
    put(sense_size_at, 4, sense_size_);
    put(cdb_size_at, 4, cdb_size_);
    put(30, 2, highest_target);
    put(32, 4, highest_lun);
    return bytes;
}

void VirtioScsi::config_written(u64 offset, u64 value, unsigned size) {
    if (size != 4 || !under_way_.empty()) return;
    if (offset == sense_size_at) sense_size_ = static_cast<u32>(std::min<u64>(value, most_sense));
    if (offset == cdb_size_at) cdb_size_ = static_cast<u32>(std::clamp<u64>(value, 16, most_cdb));
}

// A reset of the host is one of all its units (5.6.5).
void VirtioScsi::stopped() {
    ++epoch_;
    sense_size_ = 96;
    cdb_size_ = 32;
    under_way_.clear();
    events_.clear();
    for (const auto& [address, unit] : units_)
        unit->reset();
}

void VirtioScsi::save(Archive& archive) {
    archive.field("sense_size", sense_size_);
    archive.field("cdb_size", cdb_size_);
    u64 count = units_.size();
    archive.field("units", count);
    if (count != units_.size()) return archive.fail("another set of units");
    for (const auto& [address, unit] : units_)
        unit->serialize(archive);
    if (archive.loading() && (sense_size_ > most_sense || cdb_size_ > most_cdb || cdb_size_ < 16))
        archive.fail("sizes that no driver can have set");
}

} // namespace calque::devices
