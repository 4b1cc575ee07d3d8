// Numbers of the network device (virtio 1.1, 5.1.3 to 5.1.6).
#pragma once

#include "base/types.h"

#include <cstddef>

namespace calque::devices::virtio_net {

inline constexpr unsigned F_CSUM = 0, F_GUEST_CSUM = 1, F_MTU = 3, F_MAC = 5, F_GUEST_TSO4 = 7, F_GUEST_TSO6 = 8,
                          F_GUEST_ECN = 9, F_HOST_TSO4 = 11, F_HOST_TSO6 = 12, F_HOST_ECN = 13, F_MRG_RXBUF = 15,
                          F_STATUS = 16, F_CTRL_VQ = 17, F_CTRL_RX = 18, F_CTRL_VLAN = 19, F_CTRL_RX_EXTRA = 20,
                          F_GUEST_ANNOUNCE = 21, F_MQ = 22, F_CTRL_MAC_ADDR = 23;

// Configuration space, behind the address.
inline constexpr std::size_t CONFIG_STATUS = 6, CONFIG_PAIRS = 8, CONFIG_MTU = 10;
inline constexpr u8 STATUS_LINK_UP = 1, STATUS_ANNOUNCE = 2;

// The header of each frame.
inline constexpr std::size_t FLAGS = 0, GSO_TYPE = 1, HDR_LEN = 2, GSO_SIZE = 4, CSUM_START = 6, CSUM_OFFSET = 8,
                             NUM_BUFFERS = 10, HEADER_SIZE = 12, LEGACY_HEADER_SIZE = 10;
inline constexpr u8 FLAG_NEEDS_CSUM = 1, FLAG_DATA_VALID = 2;
inline constexpr u8 GSO_NONE = 0, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_ECN = 0x80;

// The control queue: class and command.
inline constexpr u8 CTRL_RX = 0, CTRL_MAC = 1, CTRL_VLAN = 2, CTRL_ANNOUNCE = 3, CTRL_MQ = 4;
inline constexpr u8 RX_PROMISC = 0, RX_ALLMULTI = 1, RX_ALLUNI = 2, RX_NOMULTI = 3, RX_NOUNI = 4, RX_NOBCAST = 5;
inline constexpr u8 MAC_TABLE_SET = 0, MAC_ADDR_SET = 1, VLAN_ADD = 0, VLAN_DEL = 1, ANNOUNCE_ACK = 0,
                    MQ_VQ_PAIRS_SET = 0;
inline constexpr u8 CTRL_OK = 0, CTRL_ERR = 1;

} // namespace calque::devices::virtio_net
