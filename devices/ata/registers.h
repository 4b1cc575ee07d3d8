// Registers, bits and command codes of AT attachment, as ATA/ATAPI-7 volume 1 names them.
#pragma once

#include "base/types.h"

namespace calque::devices::ata {

// Offsets in the command block. FEATURES is ERROR when read, COMMAND is STATUS.
inline constexpr unsigned DATA = 0, FEATURES = 1, SECTOR_COUNT = 2, LBA_LOW = 3, LBA_MID = 4, LBA_HIGH = 5, DEVICE = 6,
                          COMMAND = 7;

inline constexpr u8 STATUS_ERR = 0x01, STATUS_DRQ = 0x08, STATUS_DSC = 0x10, STATUS_DF = 0x20, STATUS_DRDY = 0x40,
                    STATUS_BSY = 0x80;
inline constexpr u8 ERROR_ABRT = 0x04, ERROR_IDNF = 0x10, ERROR_UNC = 0x40;
inline constexpr u8 DEVICE_DEV = 0x10, DEVICE_LBA = 0x40;
inline constexpr u8 CONTROL_NIEN = 0x02, CONTROL_SRST = 0x04, CONTROL_HOB = 0x80;
// The interrupt reason that PACKET keeps in SECTOR_COUNT.
inline constexpr u8 REASON_CD = 0x01, REASON_IO = 0x02;
inline constexpr u8 diagnostic_passed = 0x01;

inline constexpr u8 NOP = 0x00, DATA_SET_MANAGEMENT = 0x06, DEVICE_RESET = 0x08, READ_SECTORS = 0x20,
                    READ_SECTORS_NORETRY = 0x21, READ_SECTORS_EXT = 0x24, READ_DMA_EXT = 0x25,
                    READ_NATIVE_MAX_EXT = 0x27, READ_MULTIPLE_EXT = 0x29, READ_LOG_EXT = 0x2F, WRITE_SECTORS = 0x30,
                    WRITE_SECTORS_NORETRY = 0x31, WRITE_SECTORS_EXT = 0x34, WRITE_DMA_EXT = 0x35,
                    WRITE_MULTIPLE_EXT = 0x39, WRITE_DMA_FUA_EXT = 0x3D, READ_VERIFY = 0x40, READ_VERIFY_NORETRY = 0x41,
                    READ_VERIFY_EXT = 0x42, READ_FPDMA_QUEUED = 0x60, WRITE_FPDMA_QUEUED = 0x61, SEEK = 0x70,
                    EXECUTE_DEVICE_DIAGNOSTIC = 0x90, INITIALIZE_DEVICE_PARAMETERS = 0x91, PACKET = 0xA0,
                    IDENTIFY_PACKET_DEVICE = 0xA1, SMART = 0xB0, READ_MULTIPLE = 0xC4, WRITE_MULTIPLE = 0xC5,
                    SET_MULTIPLE_MODE = 0xC6, READ_DMA = 0xC8, READ_DMA_NORETRY = 0xC9, WRITE_DMA = 0xCA,
                    WRITE_DMA_NORETRY = 0xCB, WRITE_MULTIPLE_FUA_EXT = 0xCE, STANDBY_IMMEDIATE = 0xE0,
                    IDLE_IMMEDIATE = 0xE1, STANDBY = 0xE2, IDLE = 0xE3, READ_BUFFER = 0xE4, CHECK_POWER_MODE = 0xE5,
                    SLEEP = 0xE6, FLUSH_CACHE = 0xE7, WRITE_BUFFER = 0xE8, FLUSH_CACHE_EXT = 0xEA,
                    IDENTIFY_DEVICE = 0xEC, SET_FEATURES = 0xEF, READ_NATIVE_MAX = 0xF8;

} // namespace calque::devices::ata
