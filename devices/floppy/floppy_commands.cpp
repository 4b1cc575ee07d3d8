// Commands that move no data (82077AA datasheet, 5.2), and the choice among all.
#include "devices/floppy/floppy.h"

#include <algorithm>

namespace calque::devices {

using namespace floppy;

namespace {
constexpr u8 command_bits = 0x1F;
constexpr u8 IMPLIED_SEEK = 0x40; // Of CONFIGURE's second byte.
constexpr u8 last_cylinder = 83;  // Where heads meet the stop.
} // namespace

// Of a command with its parameters, by its first byte.
unsigned Floppy::length_of(u8 code) {
    switch (code & command_bits) {
    case READ_DATA:
    case READ_DELETED:
    case WRITE_DATA:
    case WRITE_DELETED:
    case READ_TRACK:
    case VERIFY:
    case SCAN_EQUAL:
    case SCAN_LOW:
    case SCAN_HIGH: return 9;
    case FORMAT_TRACK: return 6;
    case CONFIGURE: return 4;
    case SPECIFY:
    case SEEK: return 3;
    case RECALIBRATE:
    case SENSE_DRIVE_STATUS:
    case READ_ID:
    case PERPENDICULAR: return 2;
    default: return 1;
    }
}

void Floppy::execute() {
    const auto& c = state_.command;
    const u8 code = c[0] & command_bits;
    if (code != SENSE_INTERRUPT) state_.polls = 0;
    const auto done = [&] {
        state_.phase = Phase::command;
        state_.count = 0;
    };
    switch (code) {
    case READ_DATA:
    case READ_DELETED:
    case WRITE_DATA:
    case WRITE_DELETED:
    case READ_TRACK:
    case VERIFY: {
        Drive& drive = state_.drives[selected()];
        if ((state_.configure[1] & IMPLIED_SEEK) && drive.cylinder != c[2] && c[2] <= last_cylinder) {
            drive.cylinder = drive.present = c[2];
            if (medium(selected())) drive.changed = false;
        }
        return begin_transfer();
    }
    case FORMAT_TRACK: return format_track();
    case READ_ID: return read_id();
    case SENSE_INTERRUPT: return sense_interrupt();
    case SENSE_DRIVE_STATUS: return sense_drive();
    case RECALIBRATE: return move_heads(0, true);
    case SEEK:
        if (c[0] & 0x80) { // RELATIVE SEEK; bit 6: towards the middle.
            const int present = state_.drives[selected()].present;
            return move_heads(c[0] & 0x40 ? present + c[2] : present - c[2], false);
        }
        return move_heads(c[2], false);
    case SPECIFY: state_.specify = {c[1], c[2]}; return done();
    case CONFIGURE: state_.configure = {c[1], c[2], c[3]}; return done();
    case PERPENDICULAR:
        state_.perpendicular =
            c[1] & 0x80 ? c[1] & 0x7F : static_cast<u8>((state_.perpendicular & 0x3C) | (c[1] & 3)); // OW.
        return done();
    case LOCK: state_.locked = c[0] & 0x80; return answer({static_cast<u8>(state_.locked ? 0x10 : 0)}, false);
    case VERSION: return answer({0x90}, false); // Enhanced.
    case DUMPREG: return dump_registers();
    case SCAN_EQUAL:
    case SCAN_LOW:
    case SCAN_HIGH: log_.unimplemented(Channel::disk, "floppy.scan"); return answer({ST0_INVALID}, false);
    default: return answer({ST0_INVALID}, false);
    }
}

void Floppy::answer(std::vector<u8> bytes, bool interrupt) {
    state_.fifo = std::move(bytes);
    state_.at = 0;
    state_.phase = Phase::result;
    if (interrupt) set_interrupt(true);
}

void Floppy::finish(u8 st0, u8 st1, u8 st2, Address a) {
    st0 = static_cast<u8>(st0 | (head() << 2) | selected());
    log_.trace(Channel::disk, "floppy: ends with {:02x} {:02x} {:02x}, next {}/{}/{}", st0, st1, st2, a.cylinder,
               a.head, a.sector);
    answer({st0, st1, st2, a.cylinder, a.head, a.sector, a.size}, true);
}

// 5.2.3: the end of a seek, or of a reset for each of four drives; else it is not a command.
void Floppy::sense_interrupt() {
    set_interrupt(false);
    if (state_.sought) {
        state_.sought = false;
        return answer({state_.sought_status, state_.drives[state_.sought_status & 3].present}, false);
    }
    if (state_.polls != 0) {
        const unsigned drive = 4u - state_.polls--;
        return answer({static_cast<u8>(ST0_POLLED | drive), state_.drives[drive].present}, false);
    }
    answer({ST0_INVALID}, false);
}

void Floppy::sense_drive() {
    const unsigned drive = selected();
    u8 st3 = static_cast<u8>(ST3_TWO_SIDE | head() << 2 | drive);
    if (drive < drive_count && drives_[drive]) {
        st3 |= ST3_READY;
        if (state_.drives[drive].cylinder == 0) st3 |= ST3_TRACK_0;
        if (write_protected(drive)) st3 |= ST3_WRITE_PROTECTED;
    }
    answer({st3}, false);
}

// SEEK and RECALIBRATE: an interrupt at the end, and no result but SENSE INTERRUPT's. A step with a diskette in the
// drive lets go of the disk change line.
void Floppy::move_heads(int cylinder, bool recalibrate) {
    const unsigned number = selected();
    Drive& drive = state_.drives[number];
    const bool there = number < drive_count && drives_[number];
    u8 status = static_cast<u8>(ST0_SEEK_END | (recalibrate ? 0 : head() << 2) | number);
    drive.present = static_cast<u8>(std::clamp(cylinder, 0, 255));
    if (there) {
        const u8 before = drive.cylinder;
        drive.cylinder = std::min(drive.present, last_cylinder);
        if ((drive.cylinder != before || recalibrate) && medium(number)) drive.changed = false;
    } else if (recalibrate) {
        status |= ST0_ABNORMAL | ST0_EQUIPMENT_CHECK; // Track 0 never came.
    }
    state_.sought = true;
    state_.sought_status = status;
    state_.phase = Phase::command;
    state_.count = 0;
    set_interrupt(true);
}

void Floppy::read_id() {
    const unsigned drive = selected();
    const u8 cylinder = state_.drives[drive].cylinder;
    const Format* const f = format(drive);
    const Address here{cylinder, static_cast<u8>(head()), 1, 2};
    if (!f || cylinder >= f->cylinders || head() >= f->heads || f->rate != state_.rate)
        return finish(ST0_ABNORMAL, ST1_MISSING_ADDRESS, 0, here);
    finish(0, 0, 0, here);
}

void Floppy::dump_registers() {
    const State& s = state_;
    answer({s.drives[0].present, s.drives[1].present, s.drives[2].present, s.drives[3].present, s.specify[0],
            s.specify[1], static_cast<u8>(s.sectors), static_cast<u8>((s.locked ? 0x80 : 0) | s.perpendicular),
            s.configure[1], s.configure[2]},
           false);
}

} // namespace calque::devices
