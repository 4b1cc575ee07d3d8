// Registers and descriptors of the RTL8139C+ (Realtek's datasheet of the RTL8139C(L)+, sections 5, 6 and 9).
#pragma once

#include "base/types.h"

namespace calque::devices::rtl8139 {

// Offsets. What shares an address is named for both of the chip's ways: DTCCR, TNPDS and THPDS are C+ names of TSD and
// TSAD.
inline constexpr u32 IDR0 = 0x00, MAR0 = 0x08, TSD0 = 0x10, DTCCR = 0x10, TSAD0 = 0x20, TNPDS = 0x20, THPDS = 0x28,
                     RBSTART = 0x30, ERBCR = 0x34, ERSR = 0x36, CR = 0x37, CAPR = 0x38, CBR = 0x3A, IMR = 0x3C,
                     ISR = 0x3E, TCR = 0x40, RCR = 0x44, TCTR = 0x48, MPC = 0x4C, EECR = 0x50, CONFIG0 = 0x51,
                     CONFIG1 = 0x52, TIMER_INT = 0x54, MSR = 0x58, CONFIG3 = 0x59, CONFIG4 = 0x5A, MULINT = 0x5C,
                     RERID = 0x5E, TSAD = 0x60, BMCR = 0x62, BMSR = 0x64, ANAR = 0x66, ANLPAR = 0x68, ANER = 0x6A,
                     NWAYTR = 0x70, CSCR = 0x74, CONFIG5 = 0xD8, TPPOLL = 0xD9, CPCR = 0xE0, RDSAR = 0xE4, ETTHR = 0xEC;

inline constexpr u32 CR_BUFE = 1 << 0, CR_TE = 1 << 2, CR_RE = 1 << 3, CR_RST = 1 << 4;
inline constexpr u32 ISR_ROK = 1 << 0, ISR_RER = 1 << 1, ISR_TOK = 1 << 2, ISR_TER = 1 << 3, ISR_RXOVW = 1 << 4,
                     ISR_LINK = 1 << 5, ISR_FOVW = 1 << 6, ISR_TDU = 1 << 7, ISR_SW = 1 << 8, ISR_TIMEOUT = 1 << 14;
inline constexpr u32 TSD_SIZE = 0x1FFF, TSD_OWN = 1 << 13, TSD_TUN = 1 << 14, TSD_TOK = 1 << 15, TSD_TABT = 1 << 30;
inline constexpr u32 RCR_AAP = 1 << 0, RCR_APM = 1 << 1, RCR_AM = 1 << 2, RCR_AB = 1 << 3, RCR_WRAP = 1 << 7,
                     RCR_RBLEN = 11;
// Of the header in front of each frame in the ring of bytes.
inline constexpr u16 RX_ROK = 1 << 0, RX_BAR = 1 << 13, RX_PAM = 1 << 14, RX_MAR = 1 << 15;
inline constexpr u32 EECR_DO = 1 << 0, EECR_DI = 1 << 1, EECR_SK = 1 << 2, EECR_CS = 1 << 3, EECR_MODE = 0xC0,
                     EECR_AUTOLOAD = 0x40, EECR_UNLOCKED = 0xC0;
inline constexpr u32 MSR_LINKB = 1 << 2;
inline constexpr u32 CPCR_TE = 1 << 0, CPCR_RE = 1 << 1, CPCR_RX_CHECKSUM = 1 << 5, CPCR_RX_VLAN = 1 << 6;
inline constexpr u32 TPPOLL_SW = 1 << 0, TPPOLL_NORMAL = 1 << 6, TPPOLL_HIGH = 1 << 7;
inline constexpr u32 DTCCR_COMMAND = 1 << 3;

// The network's version of the chip in TCR.
inline constexpr u32 TCR_VERSION_MASK = 0x7CC0'0000, TCR_VERSION_CPLUS = 0x7480'0000, TCR_VERSION_C = 0x7400'0000;

// C+ descriptors: four doublewords.
inline constexpr u32 descriptor_size = 16;
inline constexpr u32 DESC_OWN = 1u << 31, DESC_EOR = 1 << 30, DESC_FS = 1 << 29, DESC_LS = 1 << 28;
inline constexpr u32 TXD_LGSEN = 1 << 27, TXD_MSS = 16, TXD_IPCS = 1 << 18, TXD_UDPCS = 1 << 17, TXD_TCPCS = 1 << 16,
                     TXD_LENGTH = 0xFFFF, TXD_TAGC = 1 << 17;
inline constexpr u32 RXD_BUFFER = 0x1FFF, RXD_MAR = 1 << 26, RXD_PAM = 1 << 25, RXD_BAR = 1 << 24, RXD_UDP = 2 << 16,
                     RXD_TCP = 1 << 16, RXD_TAVA = 1 << 16;

} // namespace calque::devices::rtl8139
