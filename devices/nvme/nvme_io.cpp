// I/O commands of the NVM command set (NVMe 1.4, chapter 6).
#include "base/byte_order.h"
#include "devices/nvme/nvme.h"

#include <algorithm>

namespace calque::devices {

using namespace nvme;

namespace {
constexpr u64 sector = BlockBackend::sector;
constexpr u64 most_blocks = (u64{4096} << largest_transfer) / sector;
constexpr u32 FUA = 1 << 30, DEALLOCATE = 1 << 25; // Of CDW12.

u16 status_of(BlockStatus status, bool reading) {
    switch (status) {
    case BlockStatus::ok: return success;
    case BlockStatus::no_space: return capacity_exceeded;
    case BlockStatus::read_only: return namespace_write_protected | do_not_retry;
    case BlockStatus::out_of_range: return lba_out_of_range | do_not_retry;
    default: return (reading ? unrecovered_read_error : write_fault) | do_not_retry;
    }
}

u64 count_of(u32 word) { return (word & 0xFFFF) + 1; }
} // namespace

void Nvme::io(const CommandPtr& command) {
    const auto code = static_cast<Io>(command->opcode());
    const bool everywhere = code == Io::flush && command->name_space() == all_namespaces;
    if (command->name_space() != 1 && !everywhere) return finish(*command, invalid_namespace | do_not_retry);
    const bool changes = code == Io::write || code == Io::write_zeroes || code == Io::dataset_management;
    if (changes && backend_.read_only()) return finish(*command, namespace_write_protected | do_not_retry);
    switch (code) {
    case Io::flush:
        return submit({.kind = BlockRequest::Kind::flush}, command,
                      [this, command](BlockStatus status) { finish(*command, status_of(status, false)); });
    case Io::read: return read(command);
    case Io::write: return write(command);
    case Io::compare: return compare(command);
    case Io::write_zeroes: return write_zeroes(command);
    case Io::dataset_management: return manage_ranges(command);
    }
    finish(*command, invalid_opcode | do_not_retry);
}

u16 Nvme::transfer_range(const Command& command, bool with_data) const {
    const u64 count = count_of(command.words[12]);
    if (with_data && count > most_blocks) return invalid_field | do_not_retry;
    if (command.lba() >= blocks() || count > blocks() - command.lba()) return lba_out_of_range | do_not_retry;
    return success;
}

// The blocks are there, and so is the memory; room for their bytes. Else the command has ended.
bool Nvme::prepare_transfer(Command& command) {
    u16 status = transfer_range(command, true);
    const u64 length = count_of(command.words[12]) * sector;
    if (status == success) status = command.where.collect(dma_, command.prp1(), command.prp2(), length, page());
    if (status != success) {
        finish(command, status | do_not_retry);
        return false;
    }
    command.data.resize(length);
    return true;
}

void Nvme::read_blocks(const CommandPtr& command, std::function<void()> then) {
    if (!prepare_transfer(*command)) return;
    BlockRequest request{
        .kind = BlockRequest::Kind::read, .offset = command->lba() * sector, .buffers = {command->data}};
    submit(std::move(request), command, [this, command, then = std::move(then)](BlockStatus done) {
        if (done != BlockStatus::ok) return finish(*command, status_of(done, true));
        then();
    });
}

void Nvme::read(const CommandPtr& command) {
    read_blocks(command, [this, command] {
        if (!command->where.write(dma_, command->data)) return finish(*command, data_transfer_error | do_not_retry);
        ++state_.reads;
        state_.sectors_read += command->data.size() / sector;
        finish(*command, success);
    });
}

void Nvme::write(const CommandPtr& command) {
    if (!prepare_transfer(*command)) return;
    if (!command->where.read(dma_, command->data)) return finish(*command, data_transfer_error | do_not_retry);
    BlockRequest request{.kind = BlockRequest::Kind::write,
                         .offset = command->lba() * sector,
                         .buffers = {command->data},
                         .force_unit_access = (command->words[12] & FUA) != 0};
    submit(std::move(request), command, [this, command](BlockStatus done) {
        if (done == BlockStatus::ok) {
            ++state_.writes;
            state_.sectors_written += command->data.size() / sector;
        }
        finish(*command, status_of(done, false));
    });
}

void Nvme::compare(const CommandPtr& command) {
    read_blocks(command, [this, command] {
        std::vector<u8> wanted(command->data.size());
        if (!command->where.read(dma_, wanted)) return finish(*command, data_transfer_error | do_not_retry);
        finish(*command, wanted == command->data ? success : compare_failure | do_not_retry);
    });
}

void Nvme::write_zeroes(const CommandPtr& command) {
    if (const u16 status = transfer_range(*command, false); status != success) return finish(*command, status);
    BlockRequest request{.kind = BlockRequest::Kind::write_zeroes,
                         .offset = command->lba() * sector,
                         .length = count_of(command->words[12]) * sector,
                         .force_unit_access = (command->words[12] & FUA) != 0,
                         .may_unmap = (command->words[12] & DEALLOCATE) != 0};
    submit(std::move(request), command,
           [this, command](BlockStatus done) { finish(*command, status_of(done, false)); });
}

// Up to 256 ranges of 16 bytes: attributes, a count, a block (6.7). Only deallocation has an effect.
void Nvme::manage_ranges(const CommandPtr& command) {
    constexpr u32 deallocate = 1 << 2;
    const u64 length = ((command->words[10] & 0xFF) + 1) * u64{16};
    const u16 status = command->where.collect(dma_, command->prp1(), command->prp2(), length, page());
    if (status != success) return finish(*command, status | do_not_retry);
    command->data.resize(length);
    if (!command->where.read(dma_, command->data)) return finish(*command, data_transfer_error | do_not_retry);
    for (u64 at = 0; at < length; at += 16) {
        const u64 count = little32(command->data, at + 4), first = little64(command->data, at + 8);
        if (first > blocks() || count > blocks() - first) return finish(*command, lba_out_of_range | do_not_retry);
    }
    if (!(command->words[11] & deallocate) || !backend_.discards()) return finish(*command, success);
    next_range(command, 0);
}

void Nvme::next_range(const CommandPtr& command, u64 at) {
    while (at < command->data.size() && little32(command->data, at + 4) == 0)
        at += 16;
    if (at >= command->data.size()) return finish(*command, success);
    BlockRequest request{.kind = BlockRequest::Kind::discard,
                         .offset = little64(command->data, at + 8) * sector,
                         .length = u64{little32(command->data, at + 4)} * sector};
    submit(std::move(request), command, [this, command, at](BlockStatus done) {
        if (done != BlockStatus::ok) return finish(*command, status_of(done, false));
        next_range(command, at + 16);
    });
}

} // namespace calque::devices
