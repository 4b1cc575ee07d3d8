// Registers and bits of Serial ATA AHCI 1.3.1, and the frame types of Serial ATA 2.6, by their own names.
#pragma once

#include "base/types.h"

namespace calque::devices::ahci {

// Generic host control (3.1).
inline constexpr u32 CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0C, VS = 0x10;
inline constexpr u32 CAP_S64A = 1u << 31, CAP_SNCQ = 1 << 30, CAP_SCLO = 1 << 24, CAP_SAM = 1 << 18, CAP_PMD = 1 << 15;
inline constexpr u32 GHC_AE = 1u << 31, GHC_IE = 1 << 1, GHC_HR = 1 << 0;
inline constexpr u32 version = 0x0001'0301;

// Port registers (3.3).
inline constexpr u32 port_base = 0x100, port_size = 0x80;
inline constexpr u32 PxCLB = 0x00, PxCLBU = 0x04, PxFB = 0x08, PxFBU = 0x0C, PxIS = 0x10, PxIE = 0x14, PxCMD = 0x18,
                     PxTFD = 0x20, PxSIG = 0x24, PxSSTS = 0x28, PxSCTL = 0x2C, PxSERR = 0x30, PxSACT = 0x34,
                     PxCI = 0x38;
inline constexpr u32 PxIS_DHRS = 1 << 0, PxIS_PSS = 1 << 1, PxIS_SDBS = 1 << 3, PxIS_DPS = 1 << 5, PxIS_PCS = 1 << 6,
                     PxIS_PRCS = 1 << 22, PxIS_OFS = 1 << 24, PxIS_IFS = 1 << 27, PxIS_HBFS = 1 << 29,
                     PxIS_TFES = 1 << 30;
inline constexpr u32 PxIE_writable = 0xFDC0'00FF;
inline constexpr u32 PxCMD_ST = 1 << 0, PxCMD_SUD = 1 << 1, PxCMD_POD = 1 << 2, PxCMD_CLO = 1 << 3, PxCMD_FRE = 1 << 4,
                     PxCMD_FR = 1 << 14, PxCMD_CR = 1 << 15, PxCMD_ATAPI = 1 << 24, PxCMD_DLAE = 1 << 25;
inline constexpr unsigned PxCMD_CCS = 8;   // Bits 12:8.
inline constexpr u32 SSTS_present = 0x123; // Device and PHY communicate, 3 Gb/s, interface active.
inline constexpr u32 SERR_DIAG_N = 1 << 16, SERR_DIAG_X = 1 << 26;
inline constexpr u32 SIG_none = 0xFFFF'FFFF;

// Memory structures (4.2).
inline constexpr u32 slots = 32, header_size = 32, descriptor_size = 16;
inline constexpr u32 table_ACMD = 0x40, table_PRDT = 0x80;
inline constexpr u32 HEADER_C = 1 << 10;                                   // Clear busy upon R_OK.
inline constexpr u32 fis_psfis = 0x20, fis_rfis = 0x40, fis_sdbfis = 0x58; // In the received FIS structure.

// Frame types (SATA 2.6, 10.3).
inline constexpr u8 FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_SDB = 0xA1, FIS_PIO_SETUP = 0x5F;
inline constexpr u8 FIS_COMMAND = 0x80, FIS_INTERRUPT = 0x40, FIS_TO_HOST = 0x20;

} // namespace calque::devices::ahci
