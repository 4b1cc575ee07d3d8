// Native command queueing: READ and WRITE FPDMA QUEUED, as many at once as there are slots (SATA 2.6, 13.6).
#include "base/byte_order.h"
#include "devices/ahci/ahci_port.h"

#include <algorithm>

namespace calque::devices {

using namespace ahci;
using namespace ata;

namespace {
constexpr u32 most_sectors = 2048; // Moved at a time, of one command: 1 MiB.
constexpr u64 sector = BlockBackend::sector;
} // namespace

// The frame has the count where others have features, and the tag, which AHCI wants to be the slot, in the count.
void AhciPort::start_queued(unsigned slot, const Header& header, std::span<const u8> frame) {
    const u64 first = load_little(frame, 4, 3) | load_little(frame, 8, 3) << 24;
    const u32 count = u32{frame[3]} | u32{frame[11]} << 8, tag = frame[12] >> 3;
    Queued& q = queued_[slot];
    q = {};
    q.active = true;
    q.write = frame[2] == WRITE_FPDMA_QUEUED;
    q.durable = frame[7] & 0x80; // FUA.
    q.next = first;
    q.left = count ? count : 65536;
    q.walk = PrdWalk(header.table + table_PRDT, header.entries);
    const u64 sectors = disk_->backend().size() / sector;
    const bool there = first < sectors && q.left <= sectors - first;
    if (tag != slot || !(state_.active >> slot & 1) || disk_->queue_failed()) return fail_queued(slot, ERROR_ABRT, 0);
    if (!there) return fail_queued(slot, ERROR_IDNF, 0);
    if (q.write && disk_->backend().read_only()) return fail_queued(slot, ERROR_ABRT, 0);
    state_.issued &= ~(1u << slot); // Released at once; PxSACT tells when it is done.
    state_.task_file = STATUS_DRDY | STATUS_DSC;
    advance_queued(slot);
}

// The next part of it, by way of a buffer: what the guest does to its memory meanwhile is its own business.
void AhciPort::advance_queued(unsigned slot) {
    Queued& q = queued_[slot];
    if (q.left == 0) return finish_queued(slot);
    const u32 count = std::min(q.left, most_sectors);
    auto data = std::make_shared<std::vector<u8>>(count * sector);
    if (q.write) {
        const DmaOutcome outcome = q.walk.transfer(host_.memory(), *data, false);
        note_regions(q.walk);
        if (outcome != DmaOutcome::done)
            return fail_queued(slot, ERROR_ABRT, outcome == DmaOutcome::table_ends ? PxIS_OFS : PxIS_HBFS);
    }
    BlockRequest request{.kind = q.write ? BlockRequest::Kind::write : BlockRequest::Kind::read,
                         .offset = q.next * sector,
                         .buffers = {*data},
                         .force_unit_access = q.write && q.durable};
    request.done = [this, slot, count, data, epoch = epoch_](BlockStatus status) {
        std::lock_guard lock(mutex());
        if (epoch != epoch_) return;
        Queued& done = queued_[slot];
        if (status != BlockStatus::ok) {
            fail_queued(slot,
                        status == BlockStatus::out_of_range ? ERROR_IDNF
                        : done.write                        ? ERROR_ABRT
                                                            : ERROR_UNC,
                        0);
        } else if (const DmaOutcome outcome =
                       done.write ? DmaOutcome::done : done.walk.transfer(host_.memory(), *data, true);
                   outcome != DmaOutcome::done) {
            fail_queued(slot, ERROR_ABRT, outcome == DmaOutcome::table_ends ? PxIS_OFS : PxIS_HBFS);
        } else {
            note_regions(done.walk);
            done.next += count;
            done.left -= count;
            advance_queued(slot);
        }
        run();
    };
    disk_->backend().submit(std::move(request));
}

void AhciPort::finish_queued(unsigned slot) {
    queued_[slot].active = false;
    post_device_bits(1u << slot, STATUS_DRDY | STATUS_DSC, 0);
}

// The first error ends all queued commands: the drive keeps which it was, for READ LOG EXT (13.6.3).
void AhciPort::fail_queued(unsigned slot, u8 error, u32 reason) {
    const u8 status = STATUS_DRDY | STATUS_DSC | STATUS_ERR;
    disk_->note_queue_error(static_cast<u8>(slot), status, error, queued_[slot].next);
    drop_queued();
    post_device_bits(0, status, error);
    halt(PxIS_TFES | reason);
}

// A Set Device Bits frame changes neither BSY nor DRQ.
void AhciPort::post_device_bits(u32 done, u8 status, u8 error) {
    std::array<u8, 8> frame{FIS_SDB, FIS_INTERRUPT, static_cast<u8>(status & 0x77), error};
    store_little(frame, 4, done, 4);
    state_.active &= ~done;
    state_.task_file = u32{error} << 8 | (state_.task_file & (STATUS_BSY | STATUS_DRQ)) | (status & 0x77);
    post(fis_sdbfis, frame);
    raise(PxIS_SDBS);
}

} // namespace calque::devices
