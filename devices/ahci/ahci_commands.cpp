// The port's engine: commands from the list to the drive, and frames back (AHCI 1.3.1, chapter 5).
#include "base/byte_order.h"
#include "devices/ahci/ahci_port.h"

#include <algorithm>
#include <bit>

namespace calque::devices {

using namespace ahci;
using namespace ata;

// Does all that can be done now. Each turn ends a command or moves one on, of at most 32 that are issued.
void AhciPort::run() {
    if (running_ || !drive_) return;
    running_ = true;
    while (state_.busy ? advance() : start_next()) {
    }
    running_ = false;
}

void AhciPort::settled() {
    // A command that software has given up ends all the same, and its frame comes.
    const bool alone = !state_.busy && (state_.task_file & STATUS_BSY) && state_.sata_status == SSTS_present;
    if (alone && !(drive_->status() & (STATUS_BSY | STATUS_DRQ))) post_registers(true);
    run();
}

// An error of the host's side, or of a command: nothing more is done until software clears ST.
void AhciPort::halt(u32 reason) {
    state_.halted = true;
    raise(reason);
}

// --- From the list to the drive

bool AhciPort::read_header(unsigned slot, Header& header) {
    std::array<u8, header_size> bytes;
    if (!host_.memory().dma_read(PhysicalAddress(list() + slot * header_size), bytes)) return false;
    header.flags = little32(bytes, 0);
    header.entries = little16(bytes, 2);
    header.table = little64(bytes, 8) & ~u64{0x7F};
    return true;
}

bool AhciPort::start_next() {
    if (!runs() || state_.issued == 0 || state_.sata_status != SSTS_present) return false;
    if (state_.task_file & (STATUS_BSY | STATUS_DRQ)) return false;
    const unsigned slot = static_cast<unsigned>(std::countr_zero(state_.issued));
    state_.slot = static_cast<u8>(slot);
    Header header;
    std::array<u8, 64> frame{};
    if (!read_header(slot, header) || !host_.memory().dma_read(PhysicalAddress(header.table), frame))
        return halt(PxIS_HBFS), false;
    const u32 length = header.flags & 0x1F; // In doublewords: a register frame has 5.
    if (length < 5 || length > 16 || frame[0] != FIS_H2D) return halt(PxIS_IFS), false;
    log_.trace(Channel::disk, "{}: slot {} command {:02x}", name_, slot, frame[2]);
    if (!(frame[1] & FIS_COMMAND)) {
        control_frame(slot, header, frame);
        return true;
    }
    if (disk_ && (frame[2] == READ_FPDMA_QUEUED || frame[2] == WRITE_FPDMA_QUEUED)) {
        start_queued(slot, header, frame);
        return true;
    }
    if (std::any_of(queued_.begin(), queued_.end(), [](const Queued& q) { return q.active; })) {
        // ACS: a command that is not queued, among queued ones, ends them all with an error.
        drop_queued();
        state_.task_file = u32{ERROR_ABRT} << 8 | STATUS_DRDY | STATUS_ERR;
        halt(PxIS_TFES);
        return false;
    }
    walk_ = PrdWalk(header.table + table_PRDT, header.entries);
    state_.busy = state_.first_block = true;
    state_.code = frame[2];
    state_.task_file = STATUS_BSY | STATUS_DRDY;
    load_registers(frame);
    drive_->command(frame[2]);
    return true;
}

// The shadow registers, twice written, as the 48-bit commands want them.
void AhciPort::load_registers(std::span<const u8> frame) {
    const auto put = [&](unsigned index, u8 before, u8 now) {
        drive_->write_register(index, before);
        drive_->write_register(index, now);
    };
    put(FEATURES, frame[11], frame[3]);
    put(SECTOR_COUNT, frame[13], frame[12]);
    put(LBA_LOW, frame[8], frame[4]);
    put(LBA_MID, frame[9], frame[5]);
    put(LBA_HIGH, frame[10], frame[6]);
    drive_->write_device(frame[7] & static_cast<u8>(~DEVICE_DEV));
}

// Only SRST has an effect: set, the drive waits in reset; cleared, it tells who it is (10.4.1).
void AhciPort::control_frame(unsigned slot, const Header& header, std::span<const u8> frame) {
    const u8 control = frame[15];
    state_.issued &= ~(1u << slot);
    if (control & CONTROL_SRST) {
        drop_queued();
        drive_->hold_in_reset();
        state_.task_file = header.flags & HEADER_C ? STATUS_DRDY : STATUS_BSY | STATUS_DRDY;
        return;
    }
    if (!(drive_->status() & STATUS_BSY)) return; // It was not in reset.
    drive_->software_reset();
    take_signature();
}

// --- The command under way

// True when it came further.
bool AhciPort::advance() {
    const u8 status = drive_->status();
    if (status & STATUS_DRQ) {
        move_block();
    } else if (drive_->wants_dma()) {
        drive_->dma_ready();
    } else if (status & STATUS_BSY) {
        return false; // It waits for the medium, and settled() will be called.
    } else {
        finish();
    }
    return true;
}

DmaOutcome AhciPort::transfer(std::span<u8> bytes, bool to_memory) {
    const DmaOutcome outcome = walk_.transfer(host_.memory(), bytes, to_memory);
    note_regions(walk_);
    // There is nothing to wait for: no more regions will come.
    if (outcome == DmaOutcome::table_ends) raise(PxIS_OFS);
    if (outcome == DmaOutcome::bad_address) raise(PxIS_HBFS);
    return outcome == DmaOutcome::done ? DmaOutcome::done : DmaOutcome::bad_address;
}

void AhciPort::note_regions(PrdWalk& walk) {
    if (walk.take_interrupt()) raise(PxIS_DPS);
}

bool AhciPort::fill_packet() {
    Header header;
    const auto block = drive_->block();
    return read_header(state_.slot, header)
           && host_.memory().dma_read(PhysicalAddress(header.table + table_ACMD),
                                      block.first(std::min<std::size_t>(block.size(), 16)));
}

// A DRQ block goes as a whole: what a data port would carry by halves.
void AhciPort::move_block() {
    const bool to_host = drive_->block_to_host(), packet = drive_->awaits_packet();
    const std::size_t count = drive_->block().size();
    const u8 before = drive_->status();
    const bool moved = packet ? fill_packet() : transfer(drive_->block(), to_host) == DmaOutcome::done;
    if (!moved) {
        if (packet) raise(PxIS_HBFS);
        return drive_->fail_transfer();
    }
    const bool interrupt = to_host || !state_.first_block;
    state_.first_block = packet; // Data that a packet asks for comes with an interrupt.
    drive_->block_moved();
    if (packet) return;
    post_pio_setup(before, to_host, interrupt, count);
    // The last block to the host ends a command without another frame, unless it was a packet's.
    if (!to_host || state_.code == PACKET || (drive_->status() & (STATUS_BSY | STATUS_DRQ | STATUS_ERR))) return;
    state_.busy = false;
    state_.issued &= ~(1u << state_.slot);
    write_byte_count(state_.slot, walk_.moved());
}

void AhciPort::finish() {
    const bool failed = drive_->status() & STATUS_ERR;
    state_.busy = false;
    write_byte_count(state_.slot, walk_.moved());
    if (!failed) state_.issued &= ~(1u << state_.slot);
    post_registers(true);
    if (failed) halt(PxIS_TFES);
}

void AhciPort::write_byte_count(unsigned slot, u32 count) {
    std::array<u8, 4> bytes;
    store_little(bytes, 0, count, 4);
    if (!host_.memory().dma_write(PhysicalAddress(list() + slot * header_size + 4), bytes)) raise(PxIS_HBFS);
}

// --- Frames to the host

void AhciPort::post(u32 offset, std::span<const u8> frame) {
    if (!(state_.command & PxCMD_FRE)) return;
    const u64 area = state_.frames & ~u64{0xFF};
    if (!host_.memory().dma_write(PhysicalAddress(area + offset), frame)) raise(PxIS_HBFS);
}

namespace {
// Registers where register frames and PIO setup frames have them alike.
std::array<u8, 20> register_frame(AtaDrive& drive, u8 type, u8 flags, u8 status) {
    const auto now = [&](unsigned index) { return drive.read_register(index, false); };
    const auto before = [&](unsigned index) { return drive.read_register(index, true); };
    return {type,
            flags,
            status,
            now(FEATURES),
            now(LBA_LOW),
            now(LBA_MID),
            now(LBA_HIGH),
            now(DEVICE),
            before(LBA_LOW),
            before(LBA_MID),
            before(LBA_HIGH),
            0,
            now(SECTOR_COUNT),
            before(SECTOR_COUNT),
            0,
            0,
            0,
            0,
            0,
            0};
}
} // namespace

void AhciPort::post_registers(bool interrupt) {
    const u8 status = drive_->status();
    const auto frame = register_frame(*drive_, FIS_D2H, interrupt ? FIS_INTERRUPT : 0, status);
    state_.task_file = u32{frame[3]} << 8 | status;
    post(fis_rfis, frame);
    drive_->acknowledge();
    if (interrupt) raise(PxIS_DHRS);
}

void AhciPort::post_pio_setup(u8 before, bool to_host, bool interrupt, std::size_t count) {
    const u8 flags = static_cast<u8>((to_host ? FIS_TO_HOST : 0) | (interrupt ? FIS_INTERRUPT : 0));
    auto frame = register_frame(*drive_, FIS_PIO_SETUP, flags, before);
    const u8 after = drive_->status() & STATUS_DRQ ? STATUS_BSY | STATUS_DRDY : drive_->status();
    frame[15] = after;
    store_little(frame, 16, count, 2);
    state_.task_file = u32{frame[3]} << 8 | after;
    post(fis_psfis, frame);
    drive_->acknowledge();
    if (interrupt) raise(PxIS_PSS);
}

} // namespace calque::devices
