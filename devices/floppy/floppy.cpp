#include "devices/floppy/floppy.h"

#include <algorithm>

namespace calque::devices {

using namespace floppy;

const Format* floppy::format_of(u64 bytes) {
    const auto found =
        std::find_if(formats.begin(), formats.end(), [&](const Format& f) { return f.bytes() >= bytes; });
    return bytes == 0 || found == formats.end() ? nullptr : &*found;
}

Floppy::Floppy(Log& log, IrqLine irq, IsaDma& dma, const Drives& drives)
    : log_(log), irq_(irq), dma_(dma), drives_(drives) {
    for (unsigned i = 0; i < drive_count; ++i) {
        if (!drives_[i]) continue;
        state_.drives[i].medium_seen = drives_[i]->medium_changes();
        drives_[i]->set_medium_observer([this, i](bool) {
            std::lock_guard lock(mutex_);
            notice_medium(i);
        });
    }
}

Floppy::~Floppy() {
    for (BlockBackend* drive : drives_)
        if (drive) drive->set_medium_observer({});
}

u8 Floppy::drive_type(const BlockBackend* backend) {
    if (!backend) return 0;
    const Format* const found = format_of(backend->size());
    return found ? found->drive : 4;
}

// --- Drives and diskettes

void Floppy::notice_medium(unsigned drive) {
    Drive& d = state_.drives[drive];
    if (drives_[drive]->medium_changes() == d.medium_seen) return;
    d.medium_seen = drives_[drive]->medium_changes();
    d.changed = true;
}

BlockBackend* Floppy::medium(unsigned drive) const {
    return drive < drive_count && drives_[drive] && drives_[drive]->has_medium() ? drives_[drive] : nullptr;
}

const Format* Floppy::format(unsigned drive) const {
    const BlockBackend* const disk = medium(drive);
    return disk ? format_of(disk->size()) : nullptr;
}

bool Floppy::write_protected(unsigned drive) const {
    const BlockBackend* const disk = medium(drive);
    return disk && disk->read_only();
}

// --- Registers

void Floppy::set_interrupt(bool on) {
    state_.interrupt = on;
    update_line();
}

// DMAGATE# lets the interrupt out (2.1.3).
void Floppy::update_line() {
    const bool level = state_.interrupt && (state_.control & DOR_DMAGATE);
    if (level == line_) return;
    line_ = level;
    irq_.set(level);
}

u8 Floppy::main_status() const {
    if (!(state_.control & DOR_RESET)) return 0;
    switch (state_.phase) {
    case Phase::command: return static_cast<u8>(MSR_RQM | (state_.count ? MSR_BUSY : 0));
    case Phase::execution: return MSR_BUSY;
    case Phase::to_host: return MSR_RQM | MSR_DIO | MSR_NON_DMA | MSR_BUSY;
    case Phase::from_host: return MSR_RQM | MSR_NON_DMA | MSR_BUSY;
    case Phase::result: return MSR_RQM | MSR_DIO | MSR_BUSY;
    }
    return 0;
}

u8 Floppy::read_port(unsigned port) {
    switch (port) {
    case SRA: return static_cast<u8>(state_.interrupt ? 0x80 : 0);
    case SRB: return static_cast<u8>(0xC0 | (state_.control & 1) << 5 | (state_.control >> 4 & 3));
    case DOR: return state_.control;
    case TDR: return state_.tape;
    case MSR_DSR: return main_status();
    case FIFO: return read_fifo();
    case DIR_CCR: {
        const unsigned drive = state_.control & DOR_DRIVE;
        const bool motor = state_.control >> (4 + drive) & 1;
        if (drive >= drive_count || !drives_[drive] || !motor) return 0;
        return !medium(drive) || state_.drives[drive].changed ? DIR_CHANGED : 0;
    }
    default: return 0xFF;
    }
}

void Floppy::write_port(unsigned port, u8 value) {
    switch (port) {
    case DOR: return write_control(value);
    case TDR: state_.tape = value & 3; return;
    case MSR_DSR:
        state_.rate = value & 3;
        if ((value & DSR_RESET) && (state_.control & DOR_RESET)) reset_controller(false);
        return;
    case FIFO: return write_fifo(value);
    case DIR_CCR: state_.rate = value & 3; return;
    default: return;
    }
}

void Floppy::write_control(u8 value) {
    const u8 before = std::exchange(state_.control, value);
    if (!(value & DOR_RESET)) {
        ++epoch_;
        set_interrupt(false);
        state_.phase = Phase::command;
        state_.count = 0;
        return;
    }
    if (!(before & DOR_RESET)) return reset_controller(false);
    update_line();
}

// 4.0: what LOCK keeps stays; the drives are polled, and each is "ready" for the first time.
void Floppy::reset_controller(bool hardware) {
    ++epoch_;
    state_.phase = Phase::command;
    state_.count = 0;
    state_.fifo.clear();
    state_.at = 0;
    state_.sought = false;
    state_.specify = {};
    if (hardware || !state_.locked) state_.configure = {};
    state_.perpendicular &= 0xFC;
    for (Drive& drive : state_.drives)
        drive.present = 0;
    state_.polls = hardware ? 0 : 4;
    set_interrupt(!hardware);
}

// --- The FIFO

u8 Floppy::read_fifo() {
    if ((state_.phase != Phase::result && state_.phase != Phase::to_host) || state_.at >= state_.fifo.size()) return 0;
    const u8 value = state_.fifo[state_.at++];
    if (state_.phase == Phase::result) {
        set_interrupt(false);
        if (state_.at == state_.fifo.size()) {
            state_.phase = Phase::command;
            state_.count = 0;
        }
    } else if (state_.at == state_.fifo.size()) {
        end_transfer(state_.sectors, false); // Nothing counts the bytes: it goes on to the end of the track.
    }
    return value;
}

void Floppy::write_fifo(u8 value) {
    if (!(state_.control & DOR_RESET)) return;
    if (state_.phase == Phase::from_host) {
        if (state_.at < state_.fifo.size()) state_.fifo[state_.at++] = value;
        if (state_.at == state_.fifo.size()) store();
        return;
    }
    if (state_.phase != Phase::command || state_.count >= state_.command.size()) return;
    state_.command[state_.count++] = value;
    if (state_.count < length_of(state_.command[0])) return;
    log_.trace(Channel::disk, "floppy: command {:02x} {:02x} {:02x} {:02x} {:02x} {:02x} {:02x}", state_.command[0],
               state_.command[1], state_.command[2], state_.command[3], state_.command[4], state_.command[5],
               state_.command[6]);
    execute();
}

u8 Floppy::Ports::read_byte(u64 offset) {
    std::lock_guard lock(device_.mutex_);
    return device_.read_port(first_ + static_cast<unsigned>(offset));
}

void Floppy::Ports::write_byte(u64 offset, u8 value) {
    std::lock_guard lock(device_.mutex_);
    device_.write_port(first_ + static_cast<unsigned>(offset), value);
}

// --- Reset and saving

void Floppy::reset() {
    std::lock_guard lock(mutex_);
    const auto drives = state_.drives;
    state_ = {};
    for (unsigned i = 0; i < drives.size(); ++i) {
        state_.drives[i].cylinder = drives[i].cylinder;
        state_.drives[i].changed = drives[i].changed;
        state_.drives[i].medium_seen = drives[i].medium_seen;
    }
    reset_controller(true);
}

void Floppy::serialize(Archive& archive) {
    std::lock_guard lock(mutex_);
    archive.section("floppy", 1, [&](u32) {
        State& s = state_;
        archive.field("control", s.control);
        archive.field("rate", s.rate);
        archive.field("tape", s.tape);
        archive.field("phase", s.phase);
        archive.field("command", s.command);
        archive.field("count", s.count);
        archive.field("fifo", s.fifo);
        archive.field("at", s.at);
        archive.field("interrupt", s.interrupt);
        archive.field("polls", s.polls);
        archive.field("sought", s.sought);
        archive.field("sought_status", s.sought_status);
        archive.field("specify", s.specify);
        archive.field("configure", s.configure);
        archive.field("perpendicular", s.perpendicular);
        archive.field("locked", s.locked);
        archive.field("cylinder", s.address.cylinder);
        archive.field("head", s.address.head);
        archive.field("sector", s.address.sector);
        archive.field("size", s.address.size);
        archive.field("sectors", s.sectors);
        for (Drive& drive : s.drives) {
            archive.field("drive_cylinder", drive.cylinder);
            archive.field("drive_present", drive.present);
            archive.field("drive_changed", drive.changed);
        }
        if (!archive.loading()) return;
        const bool data = s.phase == Phase::to_host || s.phase == Phase::from_host;
        const bool formats = (s.command[0] & 0x1F) == FORMAT_TRACK;
        const std::size_t expected = formats ? s.command[3] * std::size_t{4} : s.sectors * std::size_t{512};
        if (s.phase > Phase::result || s.count > s.command.size() || s.polls > 4 || s.at > s.fifo.size()
            || s.fifo.size() > (1u << 20) || s.sectors > 1024 || (s.phase == Phase::result && s.at == s.fifo.size())
            || (data && (s.at == s.fifo.size() || s.fifo.size() != expected))
            || (data && (selected() >= drive_count || !drives_[selected()])) || s.phase == Phase::execution)
            archive.fail("a command that no guest can have given");
    });
    if (!archive.loading()) return;
    ++epoch_;
    if (!archive.ok()) {
        state_ = {};
        return;
    }
    for (unsigned i = 0; i < drive_count; ++i)
        if (drives_[i]) state_.drives[i].medium_seen = drives_[i]->medium_changes();
    if (const Format* const f = format(selected())) geometry_ = *f;
    line_ = state_.interrupt && (state_.control & DOR_DMAGATE);
    irq_.set(line_);
}

} // namespace calque::devices
