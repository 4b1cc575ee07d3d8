// Commands that move sectors: by DMA channel 2, or through the FIFO where SPECIFY said so.
#include "devices/floppy/floppy.h"

#include <algorithm>

namespace calque::devices {

using namespace floppy;

namespace {
constexpr unsigned channel = 2;
constexpr std::size_t sector = BlockBackend::sector;
constexpr u8 NON_DMA = 0x01; // Of SPECIFY's second byte.
constexpr u8 size_512 = 2;   // The N of a sector of 512 bytes.
} // namespace

u64 Floppy::offset_of(Address a) const {
    const Format& f = geometry_;
    return ((u64{a.cylinder} * f.heads + a.head) * f.sectors + a.sector - 1) * sector;
}

// Is there a sector with this address under the heads? Else what the status registers say.
bool Floppy::find(Address a, u8& st1, u8& st2) {
    const Format* const f = format(selected());
    const u8 under = state_.drives[selected()].cylinder;
    if (!f || under >= f->cylinders || head() >= f->heads || f->rate != state_.rate) {
        st1 = ST1_MISSING_ADDRESS;
        return false;
    }
    geometry_ = *f;
    if (a.cylinder != under) st2 = ST2_WRONG_CYLINDER;
    if (a.cylinder == under && a.head == head() && a.sector >= 1 && a.sector <= f->sectors && a.size == size_512)
        return true;
    st1 = ST1_NO_DATA;
    return false;
}

// How many sectors there are from the first one to the end of the track, or with MT of the cylinder.
u32 Floppy::sectors_to_end() const {
    const auto& c = state_.command;
    const Format& f = geometry_;
    const u32 last = std::min<u32>(c[6], f.sectors);
    const u32 here = state_.address.sector <= last ? last - state_.address.sector + 1 : 1;
    const bool both = (c[0] & MULTI_TRACK) && state_.address.head == 0 && f.heads == 2;
    return here + (both ? last : 0);
}

void Floppy::begin_transfer() {
    const auto& c = state_.command;
    const u8 code = c[0] & 0x1F;
    state_.address = {c[2], c[3], c[4], c[5]};
    if (code == READ_TRACK) state_.address.sector = 1;
    u8 st1 = 0, st2 = 0;
    if (!find(state_.address, st1, st2)) return finish(ST0_ABNORMAL, st1, st2, state_.address);
    const bool writing = code == WRITE_DATA || code == WRITE_DELETED;
    if (writing && write_protected(selected())) return finish(ST0_ABNORMAL, ST1_NOT_WRITABLE, 0, state_.address);
    const u32 count = sectors_to_end();
    if (code == VERIFY) return verify(count);
    writing ? write(count) : read(count);
}

// The request goes to the host; `then` runs under the lock, unless the controller was reset meanwhile.
void Floppy::submit(BlockRequest request, std::function<void(BlockStatus)> then) {
    state_.phase = Phase::execution;
    request.done = [this, epoch = epoch_, then = std::move(then)](BlockStatus status) {
        std::lock_guard lock(mutex_);
        if (epoch == epoch_) then(status);
    };
    drives_[selected()]->submit(std::move(request));
}

// What the image does not have, of a diskette that it does not fill, are zeros.
void Floppy::read(u32 count) {
    const u64 offset = offset_of(state_.address), size = drives_[selected()]->size();
    auto data = std::make_shared<std::vector<u8>>(count * sector);
    state_.sectors = count;
    const u64 there = offset < size ? std::min<u64>(data->size(), size - offset) : 0;
    const auto take = [this, data] {
        state_.fifo = std::move(*data);
        state_.at = 0;
        hand_over();
    };
    if (there == 0) return take();
    BlockRequest request{
        .kind = BlockRequest::Kind::read, .offset = offset, .buffers = {std::span(*data).first(there)}};
    submit(std::move(request), [this, take](BlockStatus status) {
        if (status != BlockStatus::ok) return fail(status, true);
        take();
    });
}

void Floppy::hand_over() {
    if (state_.specify[1] & NON_DMA) {
        state_.phase = Phase::to_host;
        return set_interrupt(true);
    }
    const IsaDma::Transfer moved = dma_.to_memory(channel, state_.fifo);
    if (moved.bytes == 0) return finish(ST0_ABNORMAL, ST1_OVERRUN, 0, state_.address); // Nobody took it.
    end_transfer(static_cast<u32>((moved.bytes + sector - 1) / sector), moved.terminal_count);
}

void Floppy::write(u32 count) {
    state_.sectors = count;
    state_.fifo.assign(count * sector, 0);
    state_.at = 0;
    if (state_.specify[1] & NON_DMA) {
        state_.phase = Phase::from_host;
        return set_interrupt(true);
    }
    const IsaDma::Transfer moved = dma_.from_memory(channel, state_.fifo);
    if (moved.bytes == 0) return finish(ST0_ABNORMAL, ST1_OVERRUN, 0, state_.address);
    // A sector that is begun is filled up with zeros.
    state_.sectors = static_cast<u32>((moved.bytes + sector - 1) / sector);
    state_.at = moved.terminal_count;
    store();
}

// What came from the host goes to the diskette. `at` tells whether the count had run out.
void Floppy::store() {
    if ((state_.command[0] & 0x1F) == FORMAT_TRACK) return store_format(0);
    const bool counted = !(state_.specify[1] & NON_DMA) && state_.at != 0;
    auto data = std::make_shared<std::vector<u8>>(std::move(state_.fifo));
    data->resize(state_.sectors * sector);
    state_.fifo.clear();
    state_.at = 0;
    BlockRequest request{.kind = BlockRequest::Kind::write,
                         .offset = offset_of(state_.address),
                         .buffers = {*data},
                         .force_unit_access = true};
    submit(std::move(request), [this, data, counted](BlockStatus status) {
        if (status != BlockStatus::ok) return fail(status, false);
        end_transfer(state_.sectors, counted);
    });
}

// Reads, and gives nothing: with EC (the multi-track bit of the drive's byte) as many sectors as the command counts.
void Floppy::verify(u32 count) {
    const auto& c = state_.command;
    if (c[1] & 0x80) count = std::clamp<u32>(c[8], 1, count);
    auto data = std::make_shared<std::vector<u8>>(count * sector);
    const u64 offset = offset_of(state_.address), size = drives_[selected()]->size();
    const u64 there = offset < size ? std::min<u64>(data->size(), size - offset) : 0;
    if (there == 0) return end_transfer(count, true);
    BlockRequest request{
        .kind = BlockRequest::Kind::read, .offset = offset, .buffers = {std::span(*data).first(there)}};
    submit(std::move(request), [this, data, count](BlockStatus status) {
        if (status != BlockStatus::ok) return fail(status, true);
        end_transfer(count, true);
    });
}

void Floppy::fail(BlockStatus status, bool reading) {
    if (status == BlockStatus::no_medium) return finish(ST0_ABNORMAL, ST1_MISSING_ADDRESS, 0, state_.address);
    if (status == BlockStatus::read_only) return finish(ST0_ABNORMAL, ST1_NOT_WRITABLE, 0, state_.address);
    finish(ST0_ABNORMAL, ST1_DATA_ERROR, reading ? ST2_DATA_ERROR : 0, state_.address);
}

// Table 5-5: the result names the sector behind the last. Without a terminal count the end of the track is an error.
void Floppy::end_transfer(u32 sectors, bool terminal_count) {
    const auto& c = state_.command;
    const bool both = c[0] & MULTI_TRACK;
    Address a = state_.address;
    for (u32 i = 0; i < sectors; ++i) {
        if (a.sector != c[6]) {
            ++a.sector;
            continue;
        }
        a.sector = 1;
        if (both) a.head ^= 1;
        if (!both || a.head == 0) ++a.cylinder;
    }
    if (terminal_count) return finish(0, 0, 0, a);
    finish(ST0_ABNORMAL, ST1_END, 0, a);
}

// --- FORMAT TRACK: for each sector four bytes come, its address; each is filled with one byte.

void Floppy::format_track() {
    const auto& c = state_.command;
    const Format* const f = format(selected());
    const u8 cylinder = state_.drives[selected()].cylinder;
    state_.address = {cylinder, static_cast<u8>(head()), 1, c[2]};
    if (!f || cylinder >= f->cylinders || head() >= f->heads || f->rate != state_.rate || c[3] == 0)
        return finish(ST0_ABNORMAL, ST1_MISSING_ADDRESS, 0, state_.address);
    geometry_ = *f;
    if (write_protected(selected())) return finish(ST0_ABNORMAL, ST1_NOT_WRITABLE, 0, state_.address);
    state_.fifo.assign(c[3] * std::size_t{4}, 0);
    state_.at = 0;
    if (state_.specify[1] & NON_DMA) {
        state_.phase = Phase::from_host;
        return set_interrupt(true);
    }
    const IsaDma::Transfer moved = dma_.from_memory(channel, state_.fifo);
    if (moved.bytes < state_.fifo.size()) return finish(ST0_ABNORMAL, ST1_OVERRUN, 0, state_.address);
    store_format(0);
}

// Sectors that this diskette cannot have, an image has no place for.
void Floppy::store_format(std::size_t at) {
    const Format& f = geometry_;
    for (; at + 4 <= state_.fifo.size(); at += 4) {
        const Address a{state_.fifo[at], state_.fifo[at + 1], state_.fifo[at + 2], state_.fifo[at + 3]};
        if (a.cylinder != state_.address.cylinder || a.head != state_.address.head || a.sector == 0
            || a.sector > f.sectors || a.size != size_512)
            continue;
        auto data = std::make_shared<std::vector<u8>>(sector, state_.command[5]);
        BlockRequest request{.kind = BlockRequest::Kind::write, .offset = offset_of(a), .buffers = {*data}};
        return submit(std::move(request), [this, data, at](BlockStatus status) {
            if (status != BlockStatus::ok) return fail(status, false);
            store_format(at + 4);
        });
    }
    state_.fifo.clear();
    finish(0, 0, 0, state_.address);
}

} // namespace calque::devices
