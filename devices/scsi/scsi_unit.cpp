#include "devices/scsi/scsi_unit.h"

namespace calque::devices {

std::vector<u8> scsi::fixed_sense(Sense sense) {
    std::vector<u8> bytes(18);
    bytes[0] = 0x70;
    bytes[2] = sense.key;
    bytes[7] = 10; // What follows.
    bytes[12] = sense.code;
    bytes[13] = sense.qualifier;
    return bytes;
}

scsi::Sense sense_of(BlockStatus status, bool reading) {
    switch (status) {
    case BlockStatus::no_medium: return scsi::no_medium;
    case BlockStatus::out_of_range: return scsi::out_of_range;
    case BlockStatus::read_only: return scsi::write_protected;
    case BlockStatus::no_space: return scsi::allocation_failed;
    default: return reading ? scsi::unrecovered_read : scsi::write_error;
    }
}

} // namespace calque::devices
