// Registers and descriptors of the 82540EM (PCI/PCI-X Family of Gigabit Ethernet Controllers, Software Developer's
// Manual, 317453).
#pragma once

#include "base/types.h"

namespace calque::devices::e1000 {

// Chapter 13: offsets in the register space.
inline constexpr u32 CTRL = 0x0000, STATUS = 0x0008, EECD = 0x0010, EERD = 0x0014, CTRL_EXT = 0x0018, MDIC = 0x0020,
                     FCAL = 0x0028, FCAH = 0x002C, FCT = 0x0030, VET = 0x0038, ICR = 0x00C0, ITR = 0x00C4, ICS = 0x00C8,
                     IMS = 0x00D0, IMC = 0x00D8, RCTL = 0x0100, FCTTV = 0x0170, TCTL = 0x0400, TIPG = 0x0410,
                     AIT = 0x0458, LEDCTL = 0x0E00, PBA = 0x1000, FCRTL = 0x2160, FCRTH = 0x2168, RDBAL = 0x2800,
                     RDBAH = 0x2804, RDLEN = 0x2808, RDH = 0x2810, RDT = 0x2818, RDTR = 0x2820, RXDCTL = 0x2828,
                     RADV = 0x282C, TDBAL = 0x3800, TDBAH = 0x3804, TDLEN = 0x3808, TDH = 0x3810, TDT = 0x3818,
                     TIDV = 0x3820, TXDCTL = 0x3828, TADV = 0x382C, STATISTICS = 0x4000, STATISTICS_END = 0x4128,
                     GPRC = 0x4074, GPTC = 0x4080, TPR = 0x40D0, TPT = 0x40D4, RXCSUM = 0x5000, MTA = 0x5200,
                     RA = 0x5400, VFTA = 0x5600, WUC = 0x5800, WUFC = 0x5808, MANC = 0x5820;

inline constexpr u32 CTRL_SLU = 1 << 6, CTRL_RST = 1 << 26, CTRL_PHY_RST = 1u << 31, CTRL_VME = 1 << 30;
inline constexpr u32 STATUS_FD = 1 << 0, STATUS_LU = 1 << 1, STATUS_SPEED_1000 = 2 << 6;
inline constexpr u32 EECD_SK = 1 << 0, EECD_CS = 1 << 1, EECD_DI = 1 << 2, EECD_DO = 1 << 3, EECD_REQ = 1 << 6,
                     EECD_GNT = 1 << 7, EECD_PRES = 1 << 8;
inline constexpr u32 EERD_START = 1 << 0, EERD_DONE = 1 << 4;
inline constexpr u32 MDIC_READY = 1 << 28, MDIC_ERROR = 1 << 30, MDIC_READ = 2, MDIC_WRITE = 1;
inline constexpr u32 ICR_TXDW = 1 << 0, ICR_TXQE = 1 << 1, ICR_LSC = 1 << 2, ICR_RXDMT0 = 1 << 4, ICR_RXO = 1 << 6,
                     ICR_RXT0 = 1 << 7, ICR_ALL = 0x1FFFF;
inline constexpr u32 RCTL_EN = 1 << 1, RCTL_UPE = 1 << 3, RCTL_MPE = 1 << 4, RCTL_LPE = 1 << 5, RCTL_BAM = 1 << 15,
                     RCTL_VFE = 1 << 18, RCTL_BSEX = 1 << 25, RCTL_SECRC = 1 << 26;
inline constexpr u32 TCTL_EN = 1 << 1;
inline constexpr u32 RA_VALID = 1u << 31;

// 3.2.3: receive descriptors.
inline constexpr u8 RXD_STAT_DD = 1, RXD_STAT_EOP = 2, RXD_STAT_IXSM = 4, RXD_STAT_VP = 8, RXD_STAT_TCPCS = 0x20,
                    RXD_STAT_IPCS = 0x40;
// 3.3.3 to 3.3.7: transmit descriptors; positions in the second quadword.
inline constexpr u32 TXD_EOP = 1 << 24, TXD_IFCS = 1 << 25, TXD_IC_OR_TSE = 1 << 26, TXD_RS = 1 << 27,
                     TXD_DEXT = 1 << 29, TXD_VLE = 1 << 30, TXD_DD = 1;
inline constexpr u32 TYPE_CONTEXT = 0, TYPE_DATA = 1;
inline constexpr u8 POPTS_IXSM = 1, POPTS_TXSM = 2;
inline constexpr u32 TUCMD_TCP = 1 << 24, TUCMD_IP4 = 1 << 25, TUCMD_TSE = 1 << 26;

inline constexpr unsigned descriptor_size = 16;

} // namespace calque::devices::e1000
