// Registers and bits of the 82077AA (datasheet 290166), by its own names, and the formats of diskettes.
#pragma once

#include "base/types.h"

#include <array>

namespace calque::devices::floppy {

// Offsets from 3F0h.
inline constexpr unsigned SRA = 0, SRB = 1, DOR = 2, TDR = 3, MSR_DSR = 4, FIFO = 5, DIR_CCR = 7;
inline constexpr u8 DOR_DRIVE = 0x03, DOR_RESET = 0x04, DOR_DMAGATE = 0x08; // RESET# and DMAGATE#.
inline constexpr u8 MSR_RQM = 0x80, MSR_DIO = 0x40, MSR_NON_DMA = 0x20, MSR_BUSY = 0x10;
inline constexpr u8 DSR_RESET = 0x80, DIR_CHANGED = 0x80;
inline constexpr u8 ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLLED = 0xC0, ST0_SEEK_END = 0x20,
                    ST0_EQUIPMENT_CHECK = 0x10;
inline constexpr u8 ST1_END = 0x80, ST1_DATA_ERROR = 0x20, ST1_OVERRUN = 0x10, ST1_NO_DATA = 0x04,
                    ST1_NOT_WRITABLE = 0x02, ST1_MISSING_ADDRESS = 0x01;
inline constexpr u8 ST2_DATA_ERROR = 0x20, ST2_WRONG_CYLINDER = 0x10;
inline constexpr u8 ST3_WRITE_PROTECTED = 0x40, ST3_READY = 0x20, ST3_TRACK_0 = 0x10, ST3_TWO_SIDE = 0x08;

// Commands without their flags MT, MFM and SK.
enum Command : u8 {
    READ_TRACK = 0x02,
    SPECIFY = 0x03,
    SENSE_DRIVE_STATUS = 0x04,
    WRITE_DATA = 0x05,
    READ_DATA = 0x06,
    RECALIBRATE = 0x07,
    SENSE_INTERRUPT = 0x08,
    WRITE_DELETED = 0x09,
    READ_ID = 0x0A,
    READ_DELETED = 0x0C,
    FORMAT_TRACK = 0x0D,
    DUMPREG = 0x0E,
    SEEK = 0x0F,
    VERSION = 0x10,
    SCAN_EQUAL = 0x11,
    PERPENDICULAR = 0x12,
    CONFIGURE = 0x13,
    LOCK = 0x14,
    VERIFY = 0x16,
    SCAN_LOW = 0x19,
    SCAN_HIGH = 0x1D,
};
inline constexpr u8 MULTI_TRACK = 0x80;

// What a diskette has, and the data rate at which its drive reads it (CCR): 500, 300, 250 kb/s, 1 Mb/s.
struct Format {
    u32 cylinders = 0, heads = 0, sectors = 0;
    u8 rate = 0;
    u8 drive = 4; // As CMOS knows drives: 2: 1.2 MB, 4: 1.44 MB, 5: 2.88 MB.
    u64 bytes() const { return u64{cylinders} * heads * sectors * 512; }
};
inline constexpr std::array formats{
    Format{40, 1, 8, 2, 2},  Format{40, 1, 9, 2, 2},  Format{40, 2, 8, 2, 2},
    Format{40, 2, 9, 2, 2},  Format{80, 2, 9, 2, 4},  Format{80, 2, 15, 0, 2},
    Format{80, 2, 18, 0, 4}, Format{80, 2, 21, 0, 4}, Format{80, 2, 36, 3, 5},
};
// The smallest one that the image's bytes fit into; null when there is none.
const Format* format_of(u64 bytes);

} // namespace calque::devices::floppy
