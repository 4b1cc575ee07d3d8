#include "devices/ata/ata_drive.h"

#include <algorithm>
#include <utility>

namespace calque::devices {

using namespace ata;

AtaDrive::AtaDrive(Log& log, AtaCable& cable, BlockBackend& backend, std::string name)
    : log_(log), cable_(cable), backend_(backend), name_(std::move(name)),
      buffer_(std::make_shared<std::vector<u8>>()) {}

u8 AtaDrive::read_register(unsigned index, bool high_order) {
    switch (index) {
    case FEATURES: return regs_.error;
    case SECTOR_COUNT: return regs_.count.get(high_order);
    case LBA_LOW: return regs_.lba_low.get(high_order);
    case LBA_MID: return regs_.lba_mid.get(high_order);
    case LBA_HIGH: return regs_.lba_high.get(high_order);
    case DEVICE: return regs_.device | 0xA0; // Two bits that were always one.
    default: return regs_.status;
    }
}

void AtaDrive::write_register(unsigned index, u8 value) {
    if (regs_.status & (STATUS_BSY | STATUS_DRQ)) return; // Not the host's to write now.
    switch (index) {
    case FEATURES: return regs_.features.put(value);
    case SECTOR_COUNT: return regs_.count.put(value);
    case LBA_LOW: return regs_.lba_low.put(value);
    case LBA_MID: return regs_.lba_mid.put(value);
    case LBA_HIGH: return regs_.lba_high.put(value);
    default: return;
    }
}

void AtaDrive::set_interrupt(bool on) {
    if (regs_.interrupt == on && !on) return;
    if (on) regs_.interrupt = false, cable_.interrupt_changed(); // Each one is an edge of its own.
    regs_.interrupt = on;
    cable_.interrupt_changed();
}

void AtaDrive::acknowledge() { set_interrupt(false); }

void AtaDrive::command(u8 code) {
    set_interrupt(false);
    if ((regs_.status & (STATUS_BSY | STATUS_DRQ)) && code != DEVICE_RESET) return;
    forget();
    regs_.code = code;
    regs_.error = 0;
    regs_.transfer = Transfer::none;
    regs_.wants_dma = regs_.by_dma = false;
    regs_.status = static_cast<u8>(regs_.status & ~(STATUS_ERR | STATUS_DF | STATUS_DRQ | STATUS_BSY));
    log_.trace(Channel::disk, "{}: command {:02x} features {:02x} count {:02x} lba {:02x} {:02x} {:02x} device {:02x}",
               name_, code, regs_.features.now, regs_.count.now, regs_.lba_high.now, regs_.lba_mid.now,
               regs_.lba_low.now, regs_.device);
    execute(code);
}

void AtaDrive::diagnose(bool interrupt) {
    forget();
    regs_.transfer = Transfer::none;
    regs_.wants_dma = regs_.by_dma = false;
    regs_.device = 0;
    set_signature();
    regs_.error = diagnostic_passed;
    set_interrupt(interrupt);
}

void AtaDrive::hold_in_reset() {
    forget();
    regs_.transfer = Transfer::none;
    regs_.wants_dma = regs_.by_dma = false;
    regs_.status = STATUS_BSY;
    set_interrupt(false);
}

void AtaDrive::software_reset() {
    reset_kind(false);
    diagnose(false);
}

void AtaDrive::hardware_reset() {
    regs_ = {};
    reset_kind(true);
    diagnose(false);
}

void AtaDrive::complete_quietly() {
    regs_.transfer = Transfer::none;
    regs_.wants_dma = regs_.by_dma = false;
    regs_.status = STATUS_DRDY | STATUS_DSC;
}

void AtaDrive::complete() {
    complete_quietly();
    set_interrupt(true);
}

void AtaDrive::fail(u8 error) {
    complete_quietly();
    regs_.status |= STATUS_ERR;
    regs_.error = error;
    set_interrupt(true);
}

void AtaDrive::make_buffer(std::size_t size) {
    if (buffer_.use_count() > 1) buffer_ = std::make_shared<std::vector<u8>>();
    buffer_->assign(size, 0);
}

// --- The data port

void AtaDrive::offer(std::size_t from, std::size_t length, bool interrupt) {
    regs_.transfer = Transfer::to_host;
    regs_.at = static_cast<u32>(from);
    regs_.end = static_cast<u32>(from + length);
    regs_.status = STATUS_DRDY | STATUS_DSC | STATUS_DRQ;
    if (interrupt) set_interrupt(true);
}

void AtaDrive::ask(std::size_t from, std::size_t length, bool interrupt) {
    offer(from, length, interrupt);
    regs_.transfer = Transfer::from_host;
}

void AtaDrive::advance(std::size_t bytes) {
    regs_.at = static_cast<u32>(std::min<std::size_t>(regs_.at + bytes, regs_.end));
    if (regs_.at != regs_.end) return;
    const bool packet_phase = awaits_packet();
    const Transfer was = std::exchange(regs_.transfer, Transfer::none);
    regs_.status = static_cast<u8>(regs_.status & ~STATUS_DRQ);
    if (was == Transfer::to_host)
        block_read();
    else if (packet_phase)
        packet_received();
    else
        block_written();
}

u64 AtaDrive::read_data(unsigned size) {
    if (regs_.transfer != Transfer::to_host) return 0;
    u64 value = 0;
    for (unsigned i = 0; i < size && i < regs_.end - regs_.at; ++i)
        value |= u64{(*buffer_)[regs_.at + i]} << (8 * i);
    advance(size);
    return value;
}

void AtaDrive::write_data(u64 value, unsigned size) {
    if (regs_.transfer != Transfer::from_host) return;
    for (unsigned i = 0; i < size && i < regs_.end - regs_.at; ++i)
        (*buffer_)[regs_.at + i] = static_cast<u8>(value >> (8 * i));
    advance(size);
}

// --- DMA

void AtaDrive::await_dma() {
    busy();
    regs_.wants_dma = regs_.by_dma = true;
    cable_.dma_wanted();
}

void AtaDrive::dma_ready() {
    if (!regs_.wants_dma) return;
    regs_.wants_dma = false;
    dma_step();
}

// The host gave up: the drive hangs in its command until it is reset.
void AtaDrive::dma_stopped() {
    if (regs_.by_dma && !regs_.wants_dma) forget();
}

bool AtaDrive::move_by_dma(std::size_t from, std::size_t length, bool to_memory) {
    switch (cable_.transfer(part(from, length), to_memory)) {
    case DmaOutcome::done: return true;
    case DmaOutcome::table_ends: return false; // And the drive waits for more.
    default: abort(); return false;
    }
}

void AtaDrive::submit(BlockRequest request, std::function<void(BlockStatus)> then) {
    busy();
    request.done = [this, epoch = epoch_, keep = buffer_, then = std::move(then)](BlockStatus status) mutable {
        std::lock_guard lock(cable_.mutex());
        keep.reset();
        if (epoch != epoch_) return;
        then(status);
        cable_.settled();
    };
    backend_.submit(std::move(request));
}

void AtaDrive::serialize(Archive& archive) {
    archive.section(name_, 1, [&](u32) {
        const auto pair = [&](const char* name, Pair& p) {
            archive.field(name, p.now);
            archive.field(name, p.before);
        };
        pair("features", regs_.features);
        pair("count", regs_.count);
        pair("lba_low", regs_.lba_low);
        pair("lba_mid", regs_.lba_mid);
        pair("lba_high", regs_.lba_high);
        archive.field("device", regs_.device);
        archive.field("error", regs_.error);
        archive.field("status", regs_.status);
        archive.field("code", regs_.code);
        archive.field("interrupt", regs_.interrupt);
        archive.field("wants_dma", regs_.wants_dma);
        archive.field("by_dma", regs_.by_dma);
        archive.field("transfer", regs_.transfer);
        archive.field("at", regs_.at);
        archive.field("end", regs_.end);
        if (archive.loading()) {
            forget();
            make_buffer(0);
        }
        archive.field("buffer", *buffer_);
        if (archive.loading()
            && (regs_.transfer > Transfer::from_host || buffer_->size() > buffer_limit || regs_.end > buffer_->size()
                || regs_.at > regs_.end || (regs_.transfer != Transfer::none && regs_.at == regs_.end)))
            archive.fail("a transfer outside its buffer");
        serialize_kind(archive);
    });
}

} // namespace calque::devices
